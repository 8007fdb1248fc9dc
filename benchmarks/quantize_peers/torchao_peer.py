"""torchao: `python torchao_peer.py FOLDER OUT pt2e|dynamic|weight_only`, in the environment `torchao`.

`pt2e` calibrates with the x86 quantizer and exports ONNX. The others are eager modules (the Linears of the traced net
put back as such), which no file holds: their answers to the test inputs are written instead, OUT ending in .npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torchao
from given import batches, told
from torch import nn


def main(folder: Path, out: Path, way: str) -> None:
    """Writes the quantized file, or the answers."""
    program = torch.export.load(folder / "model.pt2")
    module = program.module(check_guards=False)
    data = batches(folder / "calibration.npz")
    names = list(data[0])
    if way == "pt2e":
        from pt2e import exported

        exported(module, data, names, out)
    else:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

        linears(module)
        quantize_(module, Int8WeightOnlyConfig() if way == "weight_only" else Int8DynamicActivationInt8WeightConfig())
        with torch.no_grad():
            answers = [module(*tensors(one, names)) for one in batches(folder / "test.npz")]
        np.savez_compressed(out, answers=torch.cat(answers).numpy())
    told(version=torchao.__version__)


def tensors(batch: dict[str, np.ndarray], names: list[str]) -> list[torch.Tensor]:
    """A batch in the order of the net's inputs."""
    return [torch.from_numpy(batch[name]) for name in names]


def linears(module: torch.fx.GraphModule) -> None:
    """Puts every `aten.linear` back as an `nn.Linear`, which is what torchao looks for."""
    for node in list(module.graph.nodes):
        if node.target is not torch.ops.aten.linear.default:
            continue
        parts = [one for one in node.args[1:] if one is not None]
        weight, *bias = [attribute(module, one.target) for one in parts]
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bool(bias))
        layer.weight = nn.Parameter(weight.detach().clone())
        if bias:
            layer.bias = nn.Parameter(bias[0].detach().clone())
        name = f"linear_{node.name}"
        module.add_submodule(name, layer.eval())
        with module.graph.inserting_before(node):
            node.replace_all_uses_with(module.graph.call_module(name, (node.args[0],)))
        module.graph.erase_node(node)
    module.recompile()


def attribute(module: nn.Module, path: str) -> torch.Tensor:
    """What a `get_attr` node reads."""
    found = module
    for part in path.split("."):
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
