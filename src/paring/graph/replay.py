"""What a model computes before a changed layer does not change: recorded once, and played back from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Batch, Task
from paring.graph.sites import submodule

MOST_BYTES = 2**30  # of answers kept


@dataclass
class _Run:
    """A module in one forward: when it was entered and left, how often, and the bytes of its answer."""

    entered: int
    left: int = 0
    calls: int = 0
    size: int | None = None  # None: it cannot be played back


@dataclass
class Recording:
    """What modules of `model` answer on each batch of some data, in eval mode; `runs` in the first batch."""

    model: nn.Module
    runs: dict[str, _Run]
    answers: dict[str, list[Any]] = field(default_factory=dict)

    @contextmanager
    def playing(self, other: nn.Module, layers: Iterable[str]) -> Iterator[None]:
        """Inside, modules of `other` that end before the first of `layers` begins answer what was recorded.

        `other` is the recorded model with changes; its forwards must take the batches in their order, from the first.
        What is built differently, or holds other numbers, counts as changed too.
        """
        now = dict(other.named_modules())
        changed = [name for name, module in self.model.named_modules() if not alike(module, now.get(name))]
        begin = _begin(self.runs, {*layers, *changed})
        batch = -1

        def counted(_module: nn.Module, _args: Any) -> None:
            nonlocal batch
            batch += 1

        def player(answers: list[Any]) -> Callable[..., Any]:
            return lambda *_args, **_kwargs: _copied(answers[batch])

        with ExitStack() as stack:
            stack.callback(other.register_forward_pre_hook(counted).remove)
            played: set[str] = set()
            for name in sorted(self.answers, key=lambda one: one.count(".")):
                if self.runs[name].left < begin and not _inside(name, played):
                    played.add(name)
                    module = submodule(other, name)
                    module.forward = player(self.answers[name])
                    stack.callback(delattr, module, "forward")
            yield


def record(
    model: nn.Module, task: Task, data: Sequence[Batch], starts: Iterable[Iterable[str]], most_bytes: int = MOST_BYTES
) -> Recording:
    """Keeps what is worth playing back before each of `starts` (groups of layers), outer modules first.

    Only modules are kept that run once in every forward, answer tensors or tuples of them, leave their inputs as they
    were and have neither hooks nor a forward of their own. What a module leaves on itself for another is not seen.
    """
    was_training = model.training
    model.eval()
    try:
        recording = _looked_over(model, task, data[0])
        wanted = _worth_keeping(recording.runs, starts, most_bytes // len(data))
        recording.answers.update((name, []) for name in wanted)
        for count, (inputs, _) in enumerate(data, 1):
            with ExitStack() as stack:
                for name, kept in recording.answers.items():
                    stack.callback(submodule(model, name).register_forward_hook(_keeper(kept)).remove)
                task.predict(model, inputs)
            for name in [name for name, kept in recording.answers.items() if len(kept) != count]:
                del recording.answers[name]
    finally:
        model.train(was_training)
    return recording


def _looked_over(model: nn.Module, task: Task, batch: Batch) -> Recording:
    runs: dict[str, _Run] = {}
    entered_with: dict[str, list[tuple[Tensor, int]]] = {}
    time = 0

    def tick() -> int:
        nonlocal time
        time += 1
        return time

    with ExitStack() as stack:
        for name, module in model.named_modules():
            own = bool(module._forward_hooks) or "forward" in vars(module)

            def enter(_module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                runs.setdefault(name, _Run(tick()))
                entered_with[name] = [(one, one._version) for one in (*args, *kwargs.values()) if _counts_writes(one)]

            def leave(_module: nn.Module, _args: Any, answer: Any, name: str = name, own: bool = own) -> None:
                run, written = runs[name], any(one._version != before for one, before in entered_with[name])
                run.left, run.calls = tick(), run.calls + 1
                run.size = None if own or written else _size(answer)

            stack.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        task.predict(model, batch[0])
    return Recording(model, runs)


def _counts_writes(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.is_inference()


def _worth_keeping(runs: dict[str, _Run], starts: Iterable[Iterable[str]], most_bytes: int) -> list[str]:
    """Every module that some start would have played back and that no other one played back contains."""
    able = {name: run for name, run in runs.items() if run.calls == 1 and run.size is not None}
    wanted: set[str] = set()
    for layers in starts:
        begin = _begin(runs, layers)
        before: set[str] = set()
        for name in sorted(able, key=lambda one: one.count(".")):
            if able[name].left < begin and not _inside(name, before):
                before.add(name)
        wanted |= before
    total, kept = 0, []
    for name in sorted(wanted, key=lambda one: (one.count("."), able[one].entered)):
        total += able[name].size or 0
        if total > most_bytes:
            break
        kept.append(name)
    return kept


def _keeper(kept: list[Any]) -> Callable[..., None]:
    def keep(_module: nn.Module, _args: Any, answer: Any) -> None:
        kept.append(_copied(answer))

    return keep


def _begin(runs: dict[str, _Run], layers: Iterable[str]) -> int:
    """When the first of the layers is entered; 0, before everything, where one of them never is."""
    return min((runs[name].entered if name in runs else 0 for name in layers), default=0)


def _inside(name: str, outer: Iterable[str]) -> bool:
    return any(name.startswith(f"{one}.") for one in outer)


def alike(one: nn.Module, other: nn.Module | None) -> bool:
    """Whether two modules are of a type, with as many hooks, children of the same names and equal numbers of their own.

    Plain attributes (an `eps`, a number of heads) are not looked at.
    """
    if type(one) is not type(other) or other is None or _extras(one) != _extras(other):
        return False
    own, its = ({**module._parameters, **module._buffers} for module in (one, other))
    return (
        [name for name, _ in one.named_children()] == [name for name, _ in other.named_children()]
        and own.keys() == its.keys()
        and all(_same(tensor, its[name]) for name, tensor in own.items())
    )


def _extras(module: nn.Module) -> tuple[int, int, bool]:
    return len(module._forward_hooks), len(module._forward_pre_hooks), "forward" in vars(module)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


def _size(answer: Any) -> int | None:
    if answer is None:
        return 0
    if isinstance(answer, Tensor):
        return answer.numel() * answer.element_size()
    if type(answer) in (tuple, list):
        sizes = [_size(one) for one in answer]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    return None


def _copied(answer: Any) -> Any:
    """Its own tensors, since what comes after may write into them."""
    if isinstance(answer, Tensor):
        return answer.detach().clone(memory_format=torch.preserve_format)
    return answer if answer is None else type(answer)(_copied(one) for one in answer)
