"""Additions, matrix products and average pools of activations, which belong to no layer: found, observed, quantized.

Such operations are seen while a module's own forward runs, whatever Python wrote them with (`x + y`, `torch.add`,
`q @ k`, scaled dot-product attention), in eager mode and under `torch.export` alike.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from paring.core.task import Inputs
from paring.graph.quantized import OPERAND_SCALE, OPERAND_ZERO_POINT, round_trip
from paring.graph.sites import OPAQUE
from paring.graph.trace import export_arguments

OperandKind = Literal["add", "matmul", "attention", "pool"]
Touch = Callable[[int, int, Tensor], Tensor]  # (position, operand, what it is) -> what is computed with
NUM_OPERANDS = {"add": 2, "matmul": 2, "attention": 4, "pool": 1}
ADDS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__, Tensor.__radd__}
MATMULS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm}
POOLS = {functional.adaptive_avg_pool2d, functional.avg_pool2d, torch.mean, Tensor.mean}


@dataclass(frozen=True)
class Operation:
    """The `position`-th operation of a module; `same` where both sides have one shape, or there is one side."""

    module: str
    position: int
    kind: OperandKind
    same: bool
    num_dims: int


class _Now(threading.local):
    """Whether this thread is inside an operation that one of the modes computes."""

    computing = False


NOW = _Now()


class Operands(TorchFunctionMode):
    """While active, hands the sides of each operation to `touch` and computes with what that returns.

    Modes nest as forwards do, and what one of them computes is not seen by those around it.
    """

    def __init__(self, touch: Touch, note: Callable[[int, OperandKind, Tensor, Tensor], None] | None = None) -> None:
        super().__init__()
        self._touch, self._note, self._count = touch, note, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        kind = None if NOW.computing else _kind(func, args, kwargs)
        if kind is None:
            return func(*args, **kwargs)
        position = self._next(kind, args[0], args[0] if kind == "pool" else args[1])
        NOW.computing = True
        try:
            return self._computed(kind, position, func, args, kwargs)
        finally:
            NOW.computing = False

    def _computed(self, kind: OperandKind, position: int, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        if kind == "attention":
            return _attention(*args, **kwargs, touch=lambda side, x: self._touch(position, side, x))
        if kind == "pool":
            return func(self._touch(position, 0, args[0]), *args[1:], **kwargs)
        left, right = (self._touch(position, side, x) for side, x in enumerate(args))
        return left @ right if kind == "matmul" else left + right

    def start(self) -> None:
        """From now on."""
        cast(Any, self).__enter__()

    def stop(self) -> None:
        """No longer."""
        cast(Any, self).__exit__(None, None, None)

    def _next(self, kind: OperandKind, left: Tensor, right: Tensor) -> int:
        position, self._count = self._count, self._count + 1
        if self._note is not None:
            self._note(position, kind, left, right)
        return position


def _kind(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OperandKind | None:
    """What a call is to us, None for nothing."""
    if func is functional.scaled_dot_product_attention and len(args) >= 3:
        return "attention"
    if func in POOLS and args and _is_feature_map(args[0]):
        return "pool"
    if (func in MATMULS or func in ADDS) and len(args) == 2 and not kwargs and _are_activations(*args):
        return "matmul" if func in MATMULS else "add"
    return None


def _are_activations(left: Any, right: Any) -> bool:
    pair = (left, right)
    if not all(isinstance(x, Tensor) and not isinstance(x, nn.Parameter) for x in pair):
        return False
    return all(x.is_floating_point() and x.dim() >= 2 for x in pair)


def _is_feature_map(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 4


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    touch: Callable[[int, Tensor], Tensor],
) -> Tensor:
    """Scaled dot-product attention, its two products spelled out.

    The scale goes onto the scores: between a rounded query and its product it would keep engines from integers.
    """
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (touch(0, query) @ touch(1, key).transpose(-2, -1)) * factor
    if is_causal:
        ones = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device)
        scores = scores.masked_fill(~ones.tril(), -torch.inf)
    if attn_mask is not None:
        is_bool = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if is_bool else scores + attn_mask
    probabilities = functional.dropout(scores.softmax(-1), dropout_p)
    return touch(2, probabilities) @ touch(3, value)


@torch.no_grad()
def find_operands(model: nn.Module, inputs: Inputs, dims: tuple[int, ...]) -> tuple[Operation, ...]:
    """Every operation of one forward, each under the innermost module whose forward computes it.

    Left out: modules called more than once, and layers whose forward bypasses Python (`nn.MultiheadAttention`).
    """
    args, kwargs = export_arguments(inputs, dims)
    found: list[Operation] = []
    calls: dict[str, int] = {}
    was_training = model.training
    model.eval()
    with ExitStack() as stack:
        stack.callback(model.train, was_training)
        for name, module in model.named_modules():
            if isinstance(module, OPAQUE) or OPERAND_SCALE in module._buffers:
                continue

            def note(position: int, kind: OperandKind, left: Tensor, right: Tensor, name: str = name) -> None:
                found.append(Operation(name, position, kind, left.shape == right.shape, left.dim()))

            def make(name: str = name, note: Any = note) -> Operands:
                calls[name] = calls.get(name, 0) + 1
                return Operands(_untouched, note)

            stack.enter_context(watched(module, make))
        model(*args, **kwargs)
    return tuple(one for one in found if calls[one.module] == 1)


@contextmanager
def watched(module: nn.Module, make: Callable[[], Operands]) -> Iterator[None]:
    """Runs every forward of `module` under a fresh mode from `make`."""
    running: list[Operands] = []

    def enter(_module: nn.Module, _args: Any) -> None:
        running.append(make())
        running[-1].start()

    def leave(_module: nn.Module, _args: Any, _answer: Any) -> None:
        running.pop().stop()

    handles = (
        module.register_forward_pre_hook(enter),
        module.register_forward_hook(leave, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def attach_operands(module: nn.Module, positions: tuple[int, ...], device: torch.device, *, signed: bool) -> None:
    """Makes the forward of `module` round the sides of these operations, by buffers (positions, 4) of its own."""
    shape = (len(positions), max(NUM_OPERANDS.values()))
    module.register_buffer(OPERAND_SCALE, torch.ones(shape, device=device))
    module.register_buffer(OPERAND_ZERO_POINT, torch.zeros(shape, dtype=torch.int64, device=device))
    module.__dict__["operand_rows"] = {position: row for row, position in enumerate(positions)}
    module.__dict__["operand_signed"] = signed
    module.__dict__["operand_modes"] = []
    module.register_forward_pre_hook(_enter)
    module.register_forward_hook(_leave, always_call=True)


def set_operand(module: nn.Module, position: int, side: int, scale: float, zero_point: int) -> None:
    """Puts the numbers of one operand's quantizer in."""
    row = module.__dict__["operand_rows"][position]
    module.get_buffer(OPERAND_SCALE)[row, side] = scale
    module.get_buffer(OPERAND_ZERO_POINT)[row, side] = zero_point


def _enter(module: nn.Module, _args: Any) -> None:
    rows: dict[int, int] = module.__dict__["operand_rows"]
    scales, zero_points = getattr(module, OPERAND_SCALE), getattr(module, OPERAND_ZERO_POINT)
    signed: bool = module.__dict__["operand_signed"]

    def touch(position: int, side: int, x: Tensor) -> Tensor:
        if position not in rows:
            return x
        row = rows[position]
        return round_trip(x, scales[row][side], zero_points[row][side], signed=signed and side % 2 == 1)

    mode = Operands(touch)
    module.__dict__["operand_modes"].append(mode)
    mode.start()


def _leave(module: nn.Module, _args: Any, _answer: Any) -> None:
    module.__dict__["operand_modes"].pop().stop()


def _untouched(_position: int, _side: int, x: Tensor) -> Tensor:
    return x
