"""How much work and how many numbers: multiply-accumulates for one example, and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from paring.core.task import Inputs, call

# Buffers that hold what was a parameter before a layer was quantized.
STORED = ("weight_q", "bias")


def macs(model: nn.Module, inputs: Inputs) -> int:
    """Multiply-accumulates of one forward of `model` on the first example of `inputs`; 1 MAC = 2 FLOPs.

    Matrix products, convolutions, attention and recurrent layers count; elementwise work does not. A product with
    a quantized or masked weight counts in full: it is still computed.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), _counted_paths(), FlopCounterMode(display=False, custom_mapping=MISSING) as counter:
            call(model, first_example(inputs))
    finally:
        model.train(was_training)
    return int(counter.get_total_flops()) // 2


def num_params(model: nn.Module) -> int:
    """Numbers that training made: each parameter once, and the buffers that replaced one (`weight_q`, `bias`).

    Scales, masks and the running statistics of normalization are not counted.
    """
    seen: dict[int, int] = {id(parameter): parameter.numel() for parameter in model.parameters()}
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] in STORED:
            seen[id(buffer)] = buffer.numel()
    return sum(seen.values())


def first_example(inputs: Inputs) -> Inputs:
    """`inputs` cut to a batch of one."""
    if isinstance(inputs, Tensor):
        return inputs[:1]
    if isinstance(inputs, Mapping):
        return {name: _first(value) for name, value in inputs.items()}
    return tuple(_first(value) for value in inputs)


def _first(value: Any) -> Any:
    return value[:1] if isinstance(value, Tensor) and value.dim() else value


@contextmanager
def _counted_paths() -> Iterator[None]:
    """Keeps to kernels the counter knows: fused attention and the encoder's fast path count as nothing on a CPU."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _lstm_flops(x: Any, w_input: Any, w_hidden: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """One direction of one LSTM layer: x (time, batch, in), w_input (4 hidden, in), w_hidden (4 hidden, hidden)."""
    steps, batch = x[0], x[1]
    return int(2 * steps * batch * (prod(w_input) + prod(w_hidden)))


def _bilinear_flops(left: Any, weight: Any, right: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """left (batch, in1), weight (out, in1, in2), right (batch, in2): first with one input, then with the other."""
    batch, (out, in1, in2) = left[0], weight
    return int(2 * batch * (out * in1 * in2 + out * in2))


MISSING: dict[Any, Any] = {
    torch.ops.aten.mkldnn_rnn_layer: _lstm_flops,
    torch.ops.aten._trilinear: _bilinear_flops,
}
