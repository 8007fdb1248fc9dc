"""A file in OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np

from paring.core.target import Target
from paring.engines.inputs import fitted
from paring.engines.protocol import Array, Arrays, InputSpec, Shapes, shown
from paring.errors import CorruptFileError, EngineError

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


@final
@dataclass(frozen=True, eq=False)
class Bound:
    """A call of one request on arrays that live as long as it does.

    The request itself holds only their address. Freed, the memory soon holds whatever comes next; read as floats that
    is often denormal, and the same file then runs up to ten times slower.
    """

    request: Any
    arrays: tuple[Array, ...]

    def __call__(self) -> object:
        return self.request.infer(None, share_outputs=True)


@final
@dataclass(frozen=True)
class OpenVinoSession:
    """See `Session`. `prepare` binds the input tensors to a request of its own, and keeps their memory alive."""

    path: Path
    native: Any
    inputs: tuple[InputSpec, ...]
    answers: tuple[InputSpec, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    def run(self, inputs: Arrays) -> list[Array]:
        request, arrays = self._bound(inputs)
        results = self._guarded(request.infer)
        del arrays  # until here the request reads them
        return [np.asarray(results[index]) for index in range(len(self.native.outputs))]

    def prepare(self, inputs: Arrays) -> Callable[[], object]:
        request, arrays = self._bound(inputs)
        call = Bound(request, arrays)
        self._guarded(call)
        return call

    def _bound(self, inputs: Arrays) -> tuple[Any, tuple[Array, ...]]:
        """A request that reads these arrays, and the arrays: it does not own them, so whoever calls it must."""
        import openvino

        request = self.native.create_infer_request()
        given = fitted(str(self.path), self.inputs, inputs).values()
        arrays = tuple(one if one.flags.writeable else one.copy() for one in given)  # read-only ones cannot be shared
        for index, array in enumerate(arrays):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        return request, arrays

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except RuntimeError as error:
            raise EngineError(f"{self.path}: openvino cannot run it on these inputs: {last_line(error)}") from error


@cache
def _core() -> Any:
    import openvino

    return openvino.Core()


@cache
def _front_end() -> Any:
    from openvino.frontend import FrontEndManager

    return FrontEndManager().load_by_framework("onnx")


def load_plugin() -> None:
    """Loads the CPU plugin without a model."""
    _core().get_property("CPU", "FULL_DEVICE_NAME")


def settings(target: Target, *, exact: bool) -> dict[str, Any]:
    """Every setting that changes time or numbers, none left to the engine's default."""
    # No exact integers without VNNI: LP_TRANSFORMS_MODE=NO computes `x + constant` behind a quantizer wrongly (2026.4).
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": target.threads,
        "INFERENCE_PRECISION_HINT": HINTS["fp32" if exact else target.precision],
        "ENABLE_CPU_PINNING": False,  # who measures pins
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }


def open_openvino(
    path: Path, target: Target, *, exact: bool, static: Shapes | None, profile: bool = False
) -> OpenVinoSession:
    """The session. Raises EngineError or CorruptFileError; see `paring.engines.open_session`.

    With `profile`, every request keeps the time of each operator (`profiling_info`).
    """
    if target.device != "cpu":
        raise EngineError(f"openvino: not measured: no GPU for {target} (it runs on cpu here).")
    model = _read(path)
    if static is not None:
        _make_static(path, model, static)
    try:
        native = _core().compile_model(model, "CPU", settings(target, exact=exact) | {"PERF_COUNT": profile})
    except RuntimeError as error:
        raise EngineError(f"{path}: openvino cannot compile it: {last_line(error)}") from error
    inputs, outputs = (tuple(_spec(port) for port in ports) for ports in (native.inputs, native.outputs))
    return OpenVinoSession(path, native, inputs, outputs)


def last_line(error: Exception) -> str:
    """OpenVINO puts source positions first and the reason last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]


def _read(path: Path) -> Any:
    # Asked first, because `read_model` lets every front end try a file that is no ONNX, and they complain on stderr.
    if not _front_end().supported(str(path)):
        raise CorruptFileError(f"{path}: openvino finds no ONNX model in it, or only part of one; export it again.")
    try:
        return _core().read_model(str(path))
    except RuntimeError as error:
        raise EngineError(f"{path}: openvino cannot load it: {last_line(error)}") from error


def _make_static(path: Path, model: Any, static: Shapes) -> None:
    specs = [_spec(port) for port in model.inputs]
    if static.keys() != {spec.name for spec in specs}:
        listed = "; ".join(str(spec) for spec in specs)
        raise EngineError(f"{path}: static names {sorted(static)}, and its inputs are: {listed}.")
    try:
        model.reshape({name: list(shape) for name, shape in static.items()})
    except RuntimeError as error:
        asked = ", ".join(f"{name} {shown(shape)}" for name, shape in static.items())
        raise EngineError(f"{path}: openvino cannot fix its shapes to {asked}: {last_line(error)}") from error


def _spec(port: Any) -> InputSpec:
    partial_shape = port.get_partial_shape()
    shape = (
        tuple(dim.get_length() if dim.is_static else None for dim in partial_shape)
        if partial_shape.rank.is_static
        else None
    )
    return InputSpec(port.get_any_name(), shape, np.dtype(port.get_element_type().to_dtype()))
