"""Weights of few bits: nearest, GPTQ and AdaRound on the same grids, and the files they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from paring import Declined
from paring.artifacts.onnx import write_onnx
from paring.core.recipe import Pass
from paring.errors import BatchError, LayerError, SettingError, ShapeError
from paring.graph.weight_only import WeightOnlyLayer
from paring.quantize.adaround import Adaround
from paring.quantize.gptq import Gptq
from paring.quantize.granularity import PerGroup
from paring.quantize.weight_only import WeightOnly
from tests.kernels import kernels_of
from tests.nets import image_task
from tests.passes import output_error, run, task_of


def correlated(num: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, width, generator=generator) @ torch.randn(width, width, generator=generator) / width**0.5


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))


def error_of(step: Pass, seed: int = 0) -> float:
    x, model = correlated(512, 32, seed), net(seed)
    return output_error(model, run(step, task_of(model, x))[0], x)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_bits", [2, 3, 4])
def test_methods_that_read_the_inputs_lose_less(num_bits: int, seed: int) -> None:
    nearest = error_of(WeightOnly(num_bits=num_bits), seed)
    assert error_of(Gptq(num_bits=num_bits), seed) < nearest
    assert error_of(Adaround(num_bits=num_bits, steps=100), seed) < nearest


def test_more_bits_and_smaller_groups_lose_less() -> None:
    by_bits = [error_of(WeightOnly(num_bits=num_bits)) for num_bits in (8, 4, 3, 2)]
    assert by_bits == sorted(by_bits) and by_bits[0] < by_bits[-1] / 100
    assert error_of(WeightOnly(num_bits=3, granularity=PerGroup(8))) < error_of(WeightOnly(num_bits=3))


def test_bias_correction_mends_the_mean() -> None:
    x, model = correlated(512, 32) + 1.0, net()
    plain, mended = (
        run(WeightOnly(num_bits=2, bias_correction=flag, include=("0",)), task_of(model, x))[0]
        for flag in (False, True)
    )
    with torch.no_grad():
        off = [float((other[0](x) - model[0](x)).mean(0).abs().max()) for other in (plain, mended)]
    assert off[1] < 1e-4 < off[0]


@pytest.mark.parametrize("step", [WeightOnly(num_bits=4), Gptq(num_bits=2, granularity=PerGroup(16), symmetric=False)])
def test_the_file_holds_int4_blocks(step: Pass, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 64))
    task = task_of(model, torch.randn(64, 128))
    write_onnx(run(step, task)[0], task, tmp_path / "model.onnx")
    write_onnx(model, task, tmp_path / "float.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    kinds = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 2}
    assert onnx.TensorProto.INT4 in kinds
    assert sum(node.op_type == "DequantizeLinear" for node in graph.node) == 2
    sizes = [(tmp_path / name).stat().st_size for name in ("float.onnx", "model.onnx")]
    assert sizes[0] > 4.5 * sizes[1]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize("shape", [(8, 64), (8, 3, 64)])
@pytest.mark.parametrize("step", [WeightOnly(num_bits=8), WeightOnly(num_bits=4, granularity=PerGroup(32))])
def test_onnxruntime_unpacks_no_linear_at_every_call(
    step: Pass, shape: tuple[int, ...], activation: type[nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 96), activation(), nn.Linear(96, 96), activation(), nn.Linear(96, 32))
    task = task_of(model, torch.randn(shape))
    write_onnx(run(step, task)[0], task, tmp_path / "model.onnx")
    counts = kernels_of(tmp_path / "model.onnx", tmp_path)
    assert counts["MatMulNBits"] == 3
    assert not counts.keys() & {"DequantizeLinear", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}


def test_grouped_convolutions_and_kernels_keep_their_shape() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(200, 3))
    x = torch.randn(32, 4, 5, 5)
    for step in (WeightOnly(num_bits=8), Gptq(num_bits=8), Adaround(num_bits=8, steps=20)):
        assert output_error(model, run(step, task_of(model, x))[0], x) < 1e-4


def test_batch_norms_are_folded_and_every_layer_stored() -> None:
    model, done = run(Gptq(num_bits=4), image_task())
    stored = [name for name, module in model.named_modules() if isinstance(module, WeightOnlyLayer)]
    assert stored == ["stem", "conv1", "conv2", "head"]
    assert not any(isinstance(item, Declined) for item in done)


def test_groups_that_do_not_divide() -> None:
    task = task_of(net(), correlated(64, 32))
    _, done = run(WeightOnly(granularity=PerGroup(64)), task)
    (declined,) = (item for item in done if isinstance(item, Declined))
    assert declined.layer == "0" and "32 inputs are not a multiple of group_size 64" in declined.reason
    with pytest.raises(ShapeError, match=r"quantize\.weight_only: 0: its 32 inputs"):
        run(WeightOnly(granularity=PerGroup(64), include=("0",)), task)


def test_what_is_refused() -> None:
    for num_bits in (5, True, 1, 16):
        with pytest.raises(SettingError, match="must be 2, 3, 4 or 8"):
            WeightOnly(num_bits=num_bits)
    with pytest.raises(SettingError, match="group_size is 1"):
        PerGroup(1)
    with pytest.raises(SettingError, match="damping"):
        Gptq(damping=0.0)
    task = task_of(net(), correlated(8, 32))
    with pytest.raises(BatchError, match=r"quantize\.gptq"):
        run(Gptq(), replace(task, calibration=[]))
    broken = net()
    with torch.no_grad():
        broken[0].weight[0, 0] = float("nan")  # type: ignore[index]
    with pytest.raises(LayerError, match=r"quantize\.weight_only: 0: the weight holds NaN"):
        run(WeightOnly(), task_of(broken, torch.zeros(8, 32)))
