"""Shape and type of every value of an ONNX file, for given input shapes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference

from paring.engines.protocol import Shapes, shown
from paring.errors import CorruptFileError, EngineError
from paring.measure.onnx_types import element_bits

Shape = tuple[int, ...]


def load_onnx(path: str | Path) -> onnx.ModelProto:
    """The file. Raises EngineError if there is none, CorruptFileError if it is no ONNX."""
    if not Path(path).is_file():
        raise EngineError(f"{path}: there is no such file; give the path of a .onnx file.")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's DecodeError, and whatever external data raises
        raise CorruptFileError(
            f"{path}: it is no sound ONNX file ({type(error).__name__}); export it again."
        ) from error
    if not model.graph.node:
        raise CorruptFileError(f"{path}: it is no sound ONNX file (it holds no operator); export it again.")
    return model


def value_shapes(model: onnx.ModelProto, inputs: Shapes) -> dict[str, tuple[Shape, int]]:
    """Value name -> (shape, bits of an element) under these input shapes, initializers included.

    ONNX's own shape inference first; where that leaves something open (shapes computed inside the graph), ONNX Runtime
    runs the file once without optimizations and says how large every value was.
    Raises: EngineError for a shape that does not fit, an input left out, or a file that cannot be run for its shapes.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in fixed.graph.input:
        if value.name in inputs:
            _fix(value, inputs[value.name])
        elif value.name not in stored and not _is_known(value.type.tensor_type):
            raise EngineError(f"the sizes inside the file are unknown: give a shape for its input {value.name!r}.")
    inferred = shape_inference.infer_shapes(fixed, data_prop=True)
    found: dict[str, tuple[Shape, int]] = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        if _is_known(tensor):
            sizes = tuple(int(dim.dim_value) for dim in tensor.shape.dim)
            found[value.name] = sizes, element_bits(tensor.elem_type)
    for held in model.graph.initializer:
        found[held.name] = tuple(held.dims), element_bits(held.data_type)
    made = [name for node in model.graph.node for name in node.output if name]
    lacking = [name for name in made if name not in found]
    return found | (_run_shapes(model, inputs, lacking) if lacking else {})


def _is_known(tensor: onnx.TypeProto.Tensor) -> bool:
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def _fix(value: onnx.ValueInfoProto, shape: Shape) -> None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
    own = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    if len(own) != len(shape) or any(mine not in (None, size) for mine, size in zip(own, shape, strict=True)):
        raise EngineError(f"input {value.name!r} is {shown(shape)}, and the file takes {shown(own)}.")
    for dim, size in zip(tensor.shape.dim, shape, strict=True):
        dim.dim_value = size


def _run_shapes(model: onnx.ModelProto, inputs: Shapes, names: list[str]) -> dict[str, tuple[Shape, int]]:
    import onnxruntime as ort

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {value.name for value in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shown.onnx"
        onnx.save(shown, str(path))
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            values = session.run(names, _zeros(model, inputs))
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            reason = str(error).strip().splitlines()[0][:200]
            raise EngineError(f"the sizes inside the file are unknown: onnxruntime cannot run it: {reason}") from error
    return {
        name: (tuple(value.shape), value.dtype.itemsize * 8)
        for name, value in zip(names, values, strict=True)
        if isinstance(value, np.ndarray)
    }


def _zeros(
    model: onnx.ModelProto, inputs: Mapping[str, Shape]
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: np.zeros(
            _shape_of(value, inputs), helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        )
        for value in model.graph.input
        if value.name not in stored
    }


def _shape_of(value: onnx.ValueInfoProto, inputs: Mapping[str, Shape]) -> Shape:
    return inputs.get(value.name) or tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def constants_of(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Name -> tensor of every initializer and every Constant node."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            found[node.output[0]] = node.attribute[0].t
    return found
