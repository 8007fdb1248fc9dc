"""A file in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from paring.core.target import Target
from paring.engines.inputs import fitted
from paring.engines.processor import has_vnni
from paring.engines.protocol import Array, Arrays, InputSpec
from paring.errors import CorruptFileError, EngineError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
OPTIMIZED = "optimized.onnx"
FATAL = 4  # errors come as exceptions; the engine need not print them as well


@final
@dataclass(frozen=True)
class OnnxRuntimeSession:
    """See `Session`. `prepare` binds inputs and outputs, so that a call copies nothing in and nothing out."""

    path: Path
    native: Any
    inputs: tuple[InputSpec, ...]
    answers: tuple[InputSpec, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.answers)

    def run(self, inputs: Arrays) -> list[Array]:
        feed = fitted(str(self.path), self.inputs, inputs)
        return list(self._guarded(partial(self.native.run, list(self.outputs), feed)))

    def prepare(self, inputs: Arrays) -> Callable[[], object]:
        binding = self.native.io_binding()
        feed = fitted(str(self.path), self.inputs, inputs)
        for name, array in feed.items():
            binding.bind_cpu_input(name, array)
        for name in self.outputs:
            binding.bind_output(name)
        call = partial(_run_bound, self.native.run_with_iobinding, binding, feed)
        self._guarded(call)
        return call

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise EngineError(f"{self.path}: onnxruntime cannot run it on these inputs: {one_line(error)}") from error


def _run_bound(run: Callable[[Any], object], binding: object, _feed: object) -> object:
    """The feed rides along, because a binding does not keep its arrays alive."""
    return run(binding)


def open_onnxruntime(path: Path, target: Target, *, exact: bool, profile: Path | None = None) -> OnnxRuntimeSession:
    """The session. Raises EngineError or CorruptFileError; see `paring.engines.open_session`.

    With `profile`, a folder, ONNX Runtime writes there the graph it runs and, at `native.end_profiling()`, its times.
    """
    import onnxruntime as ort

    ort.set_default_logger_severity(FATAL)
    provider = PROVIDERS[target.device]
    if provider not in ort.get_available_providers():
        raise EngineError(
            f"onnxruntime: not measured: no GPU for {target} (it offers {ort.get_available_providers()})."
        )
    if target.device == "cuda" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA's libraries where PyTorch or pip have put them
    options = session_options(target, exact=exact)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile / "profile")
        options.optimized_model_filepath = str(profile / OPTIMIZED)
    try:
        native = ort.InferenceSession(_source(path, exact=exact), options, providers=[provider])
    except Exception as error:
        if type(error).__name__ in ("InvalidProtobuf", "InvalidGraph", "NoModel") and "No Op registered" not in str(
            error
        ):
            raise CorruptFileError(f"{path}: it is no sound ONNX file. onnxruntime says: {one_line(error)}") from error
        raise EngineError(f"{path}: onnxruntime cannot load it: {one_line(error)}") from error
    if provider not in native.get_providers():  # it falls back to the processor, and says so only in its log
        raise EngineError(
            f"onnxruntime: not measured: {provider} does not start for {target}, and {native.get_providers()} would "
            "run it instead. Install the CUDA and cuDNN that onnxruntime-gpu asks for."
        )
    inputs = tuple(_spec(path, "input", entry) for entry in native.get_inputs())
    outputs = tuple(_spec(path, "output", entry) for entry in native.get_outputs())
    return OnnxRuntimeSession(path, native, inputs, outputs)


def _source(path: Path, *, exact: bool) -> str | bytes:
    """The file, or its content with a zero point for every channel of int8 weights that have scales alone.

    Where u8 x u8 kernels are asked for, ONNX Runtime moves such weights by 128 and writes one zero point for all
    channels, which its own DequantizeLinear then refuses.
    """
    if not exact or has_vnni():
        return str(path)
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(path)
    except Exception:  # what is wrong with the file is for ONNX Runtime to say
        return str(path)
    held, mended = {one.name: one for one in model.graph.initializer}, False
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 2:
            weight, scale = (held.get(name) for name in node.input)
            if weight is not None and scale is not None and weight.data_type == onnx.TensorProto.INT8 and scale.dims:
                zeros = np.zeros(tuple(scale.dims), np.int8)
                node.input.append(f"{node.output[0]}_zero_point")
                model.graph.initializer.append(numpy_helper.from_array(zeros, node.input[2]))
                mended = True
    return model.SerializeToString() if mended else str(path)


def session_options(target: Target, *, exact: bool) -> Any:
    """Every setting that changes time or numbers."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if exact:
        # u8 x u8 kernels where u8 x s8 ones saturate in 16 bits, and no int8 activations for weight-only files: both
        # are documented in onnxruntime_session_options_config_keys.h. The first one refuses a weight beyond -64..64
        # that two operations share, so it is asked for only where it changes anything.
        if not has_vnni():
            options.add_session_config_entry("session.x64quantprecision", "1")
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return options


def one_line(error: Exception) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]


def _spec(path: Path, side: str, entry: Any) -> InputSpec:
    kind = entry.type.removeprefix("tensor(").removesuffix(")")
    if kind not in DTYPES:
        raise EngineError(f"{path}: {side} {entry.name!r} is {entry.type}; Paring handles tensors of numbers.")
    shape = tuple(size if isinstance(size, int) else None for size in entry.shape)
    return InputSpec(entry.name, shape, np.dtype(DTYPES[kind]))
