"""What is added to a module's answer: the other branch of a residual connection, seen while the model runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from paring.core.task import Inputs, call
from paring.graph.sites import submodule

ADDITIONS = frozenset({torch.add, torch.Tensor.add, torch.Tensor.add_, torch.Tensor.__add__, torch.Tensor.__iadd__})
See = Callable[[str, Tensor, Tensor], None]


class Addends(TorchFunctionMode):
    """While entered, calls `see(name, answer, other)` when the answer of a module is added to a tensor of its shape.

    An answer that went through anything before the addition is not seen. `see` must copy what it keeps.
    Example: `with Addends(model, ["bn2"], see): model(x)` for `relu(bn2(y) + x)` -> see("bn2", bn2's answer, x).
    """

    def __init__(self, model: nn.Module, names: list[str], see: See) -> None:
        super().__init__()
        self._model, self._names, self._see = model, names, see
        self._answers: dict[int, tuple[str, Tensor]] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        for name in self._names:

            def keep(_module: nn.Module, _args: Any, answer: Any, name: str = name) -> None:
                if isinstance(answer, Tensor):
                    self._answers[id(answer)] = (name, answer)

            self._hooks.callback(submodule(self._model, name).register_forward_hook(keep).remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._hooks.close()
        self._answers.clear()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in ADDITIONS and len(args) == 2 and not kwargs and all(isinstance(arg, Tensor) for arg in args):
            for one, other in (args, args[::-1]):
                name, answer = self._answers.pop(id(one), ("", None))
                if answer is not None and one.shape == other.shape:
                    self._see(name, answer, other)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def added_to(model: nn.Module, names: list[str], inputs: Inputs) -> dict[str, str]:
    """Module -> the module whose forward adds to its answer, "" for the model's own: residual connections.

    Those of `names` alone whose answer is added to once on these inputs.
    """
    seen: list[tuple[str, str]] = []
    inside = [""]
    with ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        for name, module in model.named_modules():
            enter = module.register_forward_pre_hook(lambda _module, _args, name=name: inside.append(name))
            stack.callback(enter.remove)
            stack.callback(module.register_forward_hook(lambda _module, _args, _answer: _left(inside)).remove)
        with Addends(model, names, lambda name, _answer, _other: seen.append((name, inside[-1]))):
            call(model, inputs)
    once = Counter(name for name, _ in seen)
    return {name: where for name, where in seen if once[name] == 1}


def _left(inside: list[str]) -> None:
    inside.pop()
