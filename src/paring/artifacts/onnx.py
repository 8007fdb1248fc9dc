"""A model as one standard ONNX file: one output, dynamic batch, weights inside, nothing of Paring in it."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from paring.artifacts.quantizers import sink_quantizers
from paring.artifacts.translations import free_codes, opset_for, pack_int4, store_half, translations
from paring.core.atomic import write_atomically
from paring.core.task import Inputs, Task, tensors_of
from paring.errors import ExportError
from paring.graph.edits.weight_only import STORED_AS
from paring.graph.fake import FakeQuantizedLayer
from paring.graph.quantized import freeze_quantizers
from paring.graph.trace import export_arguments, quiet, reason_of

NodeMap = dict[str, str]
OUTPUT = "output"
SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's exporter records the modules around a node
LARGEST = 2**31 - 1  # protobuf's limit on one file


class OneOutput(nn.Module):
    """`model` from the tensors among its inputs alone to the tensor that the task scores."""

    def __init__(self, model: nn.Module, inputs: Inputs, output: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.inputs, self.output = model, inputs, output

    def forward(self, *tensors: Tensor) -> Tensor:
        given = iter(tensors)

        def fill(value: Any) -> Any:
            return next(given) if isinstance(value, Tensor) else value

        if isinstance(self.inputs, Mapping):
            return self.output(self.model(**{name: fill(value) for name, value in self.inputs.items()}))
        values = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        return self.output(self.model(*(fill(value) for value in values)))


def write_onnx(model: nn.Module, task: Task, path: str | Path) -> NodeMap:
    """Writes `model` to `path`, whole or not at all, and returns node name -> module name for every node.

    The inputs are called `inputs`, or as the keys of a dict, or as the arguments of `forward`; the output is `output`.
    The same weights give the same bytes. `model` is left as it is.
    Raises: ExportError in one line: what cannot be traced or converted and where, a dynamic dimension that the model
        fixes, float weights behind quantizers, a file above 2 GB.
    """
    names = input_names(model, task.example_inputs)
    wrapped = OneOutput(copy.deepcopy(model), task.example_inputs, task.output).eval()
    # Inputs are made contiguous too: behind channels-last tensors torch puts a gather after an average pool, which
    # OpenVINO misreads among integers.
    for tensor in (*wrapped.parameters(), *wrapped.buffers()):
        tensor.data = tensor.data.contiguous()
    _refuse_unfinished(wrapped.model)
    freeze_quantizers(wrapped)
    program = _traced(wrapped, task)
    _check_dynamic(program, names, task.dynamic_dims)
    proto = _converted(program, names, opset_for(wrapped))
    _refuse_float_weights(proto)
    sink_quantizers(proto.graph)
    _unshare_zero_points(proto.graph)
    free_codes(proto.graph)
    pack_int4(proto.graph)
    node_map = _stripped(proto)
    for dtype in sorted({getattr(module, STORED_AS) for module in model.modules() if hasattr(module, STORED_AS)}):
        node_map |= _with_names(store_half(proto.graph, dtype))
    if (size := proto.ByteSize()) > LARGEST:
        raise ExportError(f"{path}: the file would be {size} bytes, and ONNX holds at most 2 GB. Compress further.")
    write_atomically(Path(path), proto.SerializeToString(deterministic=True))
    return node_map


def input_names(model: nn.Module, inputs: Inputs) -> tuple[str, ...]:
    """Names of the file's inputs, in its order: one for every tensor of `inputs`."""
    if isinstance(inputs, Tensor):
        return ("inputs",)
    if isinstance(inputs, Mapping):
        return tuple(tensors_of(inputs))
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [p.name for p in inspect.signature(model.forward).parameters.values() if p.kind in kinds]
    names = known[: len(inputs)] + [f"inputs_{i}" for i in range(len(known), len(inputs))]
    return tuple(name for name, value in zip(names, inputs, strict=True) if isinstance(value, Tensor))


def _traced(wrapped: nn.Module, task: Task) -> torch.export.ExportedProgram:
    args, kwargs = export_arguments(task.example_inputs, task.dynamic_dims)
    tensors = tuple(value.contiguous() for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    free = [{dim: torch.export.Dim.AUTO for dim in task.dynamic_dims if dim < value.dim()} for value in tensors]
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(wrapped, tensors, dynamic_shapes=(tuple(free),), strict=False)
    except Exception as error:  # the exporter raises whatever the model's own code does
        raise ExportError(f"the model cannot be traced for export: {reason_of(error)}") from error


def _check_dynamic(program: torch.export.ExportedProgram, names: tuple[str, ...], dims: tuple[int, ...]) -> None:
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    for name, placeholder in zip(names, program.graph_signature.user_inputs, strict=True):
        shape = values[str(placeholder)].shape
        for dim in dims:
            if dim < len(shape) and is_concrete_int(shape[dim]):
                raise ExportError(
                    f"{name}: the model fixes dimension {dim} at {shape[dim]}, and the task says it may vary. "
                    "Take the constant out of its reshapes, or leave the dimension out of Task(dynamic_dims=...)."
                )


def _converted(program: torch.export.ExportedProgram, names: tuple[str, ...], opset: int | None) -> onnx.ModelProto:
    try:
        with quiet():
            converted = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=names,
                output_names=(OUTPUT,),
                external_data=False,
                opset_version=opset,
                custom_translation_table=translations(),
            )
    except Exception as error:  # no common base class
        raise ExportError(f"the model cannot be converted to ONNX: {reason_of(error)}") from error
    assert converted is not None
    proto: onnx.ModelProto = converted.model_proto
    return proto


def _refuse_unfinished(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, FakeQuantizedLayer):
            raise ExportError(f"{name}: its fake quantizers have not been turned into stored integers (Freeze).")


def _refuse_float_weights(proto: onnx.ModelProto) -> None:
    stored = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in stored:
            raise ExportError(
                f"{node.input[0]}: a float weight behind a quantizer would ship as fp32 and run as fp32. "
                "Store its integers first (QuantizeWeight)."
            )


def _unshare_zero_points(graph: onnx.GraphProto) -> None:
    """One zero point a weight: the exporter merges equal ones, and ONNX Runtime's `session.x64quantprecision` then
    turns the same one unsigned twice and refuses the file."""
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    seen: set[str] = set()
    for node in graph.node:
        has_zero_point = node.op_type == "DequantizeLinear" and len(node.input) > 2
        if not has_zero_point or node.input[0] not in stored or node.input[2] not in stored:
            continue
        name = node.input[2]
        if name in seen:
            node.input[2] = f"{node.input[0]}.zero_point"
            graph.initializer.add().CopyFrom(stored[name])
            graph.initializer[-1].name = node.input[2]
        seen.add(name)


def _with_names(casts: list[onnx.NodeProto]) -> NodeMap:
    """Names the nodes after the weights they convert; the weight's name begins with its module's."""
    for node in casts:
        node.name = f"cast_{node.output[0]}"
    return {node.name: node.output[0].rpartition(".")[0] for node in casts}


def _stripped(proto: onnx.ModelProto) -> NodeMap:
    """Takes out what no engine reads (16 to 52 kB) and shortens names; node name -> module name."""
    node_map = {}
    for position, node in enumerate(proto.graph.node):
        module = _module_of(node)
        node.name = f"n{position}"
        node_map[node.name] = module
        _without_saturate(node)
    del proto.graph.value_info[:]
    values = [*proto.graph.input, *proto.graph.output]
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer, *values):
        part.ClearField("doc_string")
        del part.metadata_props[:]
    _shorten_values(proto.graph)
    _name_dimensions(values)
    return node_map


def _without_saturate(node: onnx.NodeProto) -> None:
    """Takes out what a Cast to float8 alone would read, and no file here holds float8."""
    if node.op_type == "Cast":
        kept = [one for one in node.attribute if one.name != "saturate"]
        del node.attribute[:]
        node.attribute.extend(kept)


def _shorten_values(graph: onnx.GraphProto) -> None:
    """`v7` for what nodes hand on, and weights as the model calls them. Graphs with inner graphs keep their names."""
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return
    kept = {value.name for value in (*graph.input, *graph.output)}
    short = {tensor.name: tensor.name.removeprefix("model.") for tensor in graph.initializer if tensor.name not in kept}
    made = (name for node in graph.node for name in node.output if name and name not in kept)
    short |= {name: f"v{position}" for position, name in enumerate(made)}
    if len(kept | set(short.values())) < len(kept) + len(short):
        return
    for tensor in graph.initializer:
        tensor.name = short.get(tensor.name, tensor.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [short.get(name, name) for name in names]


def _name_dimensions(values: list[onnx.ValueInfoProto]) -> None:
    renamed: dict[str, str] = {}
    for value in values:
        for position, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param and position == 0:
                dim.dim_param = "batch"
            elif dim.dim_param:
                dim.dim_param = renamed.setdefault(dim.dim_param, f"dim_{position}_{len(renamed)}")


def _module_of(node: onnx.NodeProto) -> str:
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            scopes = [scope for scope in ast.literal_eval(entry.value)[:-1] if scope.startswith("model")]
            return scopes[-1].removeprefix("model").removeprefix(".").split("@")[0] if scopes else ""
    return ""
