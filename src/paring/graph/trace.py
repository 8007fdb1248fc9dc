"""What flows where in a model, by module name, read once through `torch.export`."""

from __future__ import annotations

import copy
import io
import logging
import sysconfig
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Inputs
from paring.errors import TraceError
from paring.graph.edits.fold import FOLDABLE, NORMS
from paring.graph.sites import sharers

OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<")
STDLIB = sysconfig.get_path("stdlib")


@dataclass(frozen=True)
class Op:
    """One operation: `module` is the innermost module it runs in, `inputs` the names of the ops it reads."""

    name: str
    kind: str
    module: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Dataflow:
    """Every operation of one forward, in order."""

    ops: tuple[Op, ...]

    @cached_property
    def users(self) -> Mapping[str, tuple[Op, ...]]:
        """For each op name, the ops that read it. An op the model returns has a user of kind `output`."""
        readers: dict[str, list[Op]] = defaultdict(list)
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                readers[name].append(op)
        return {name: tuple(ops) for name, ops in readers.items()}


def trace(model: nn.Module, example_inputs: Inputs) -> Dataflow:
    """The dataflow of `model` in eval mode on `example_inputs`; the model is left as it is.

    Raises: TraceError in one line with the reason, and the place in the model's code where there is one.
    Example: Conv2d `conv` then ReLU -> ops of kind aten.conv2d.default (module `conv`) and aten.relu.default.
    """
    args, kwargs = export_arguments(example_inputs, (0,))
    try:
        with quiet():
            program = torch.export.export(copy.deepcopy(model).eval(), args, kwargs, strict=False)
    except Exception as error:  # the exporter raises whatever the model's own code does
        raise TraceError(f"the model cannot be traced: {reason_of(error)}") from error
    return Dataflow(tuple(_op(node) for node in program.graph.nodes))


def batch_norm_pairs(model: nn.Module, example_inputs: Inputs) -> tuple[tuple[str, str], ...]:
    """(layer, batch_norm) wherever the norm is the only reader of the layer's output, so that it folds into it.

    Left out: modules called more than once, tied weights, norms without running statistics or over another dimension
    than the layer's channels. A model without batch norms is not traced. Raises: TraceError.
    """
    modules = dict(model.named_modules())
    if not any(type(module) in NORMS for module in modules.values()):
        return ()
    flow = trace(model, example_inputs)
    tied = sharers(model)
    kinds = (("conv", "linear"), ("batch_norm",))
    calls = Counter(op.module for op in flow.ops if _short(op).startswith(kinds[0] + kinds[1]))
    pairs = []
    for op in flow.ops:
        users = flow.users.get(op.name, ())
        if len(users) != 1 or not _short(op).startswith(kinds[0]) or not _short(users[0]).startswith(kinds[1]):
            continue
        layer, norm = op.module, users[0].module
        is_linear_3d = type(modules.get(layer)) is nn.Linear and len(op.shape or ()) != 2
        fits = type(modules.get(layer)) in FOLDABLE and type(modules.get(norm)) in NORMS and not is_linear_3d
        if fits and calls[layer] == calls[norm] == 1 and layer not in tied and modules[norm].running_mean is not None:
            pairs.append((layer, norm))
    return tuple(pairs)


def export_arguments(inputs: Inputs, dims: tuple[int, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(args, kwargs) of one call, each of `dims` at least 2 long: `torch.export` fixes sizes 0 and 1 for good."""
    if isinstance(inputs, Mapping):
        return (), {name: _at_least_two(value, dims) for name, value in inputs.items()}
    values = inputs if isinstance(inputs, tuple | list) else (inputs,)
    return tuple(_at_least_two(value, dims) for value in values), {}


def reason_of(error: BaseException) -> str:
    """One line on why an export failed: the first line of the innermost message, and the user's own code line."""
    chain = [error]
    while (
        inner := chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__)
    ) is not None:
        chain.append(inner)
    data_dependent = next((e for e in chain if "DataDependent" in type(e).__name__), None)
    text = str(chain[-1]).splitlines()
    line = next((line.strip() for line in text if line.strip()), type(chain[-1]).__name__)
    if data_dependent is not None:
        line = "its control flow depends on the values of a tensor"
    place = user_code(error)
    return f"{line} ({place})" if place else line


def user_code(error: BaseException) -> str:
    """`in forward, net.py:12`: the innermost line of the error's traceback outside torch and Paring, or nothing."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_user_file(frame.filename)]
    return f"in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _is_user_file(path: str) -> bool:
    is_stdlib = path.startswith(STDLIB) and "site-packages" not in path
    return not path.startswith(OURS) and not is_stdlib


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the exporter's own log lines and graph dumps off the screen; errors still come as exceptions."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        logging.disable(previous)


def _at_least_two(value: Any, dims: tuple[int, ...]) -> Any:
    if not isinstance(value, Tensor):
        return value
    for dim in dims:
        if dim < value.dim() and value.shape[dim] == 1:
            value = torch.cat([value, value], dim)
    return value


def _op(node: torch.fx.Node) -> Op:
    value = node.meta.get("val")
    shape = tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else None
    stack = node.meta.get("nn_module_stack") or {}
    path = next((name for name, _ in reversed(stack.values())), "") if stack else ""
    kind = str(node.target) if node.op == "call_function" else node.op
    inputs = tuple(source.name for source in node.all_input_nodes)
    return Op(node.name, kind, path.split("@")[0], inputs, shape)


def _short(op: Op) -> str:
    return op.kind.removeprefix("aten.").lstrip("_")
