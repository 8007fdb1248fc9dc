"""Quantizers moved to where their numbers come from, past what only moves, picks or joins numbers.

`Q(max-pool(x)) = max-pool(Q(x))`, and so for reshapes, joins and gathers: rounding is monotone and goes number by
number. The file answers the same to the bit, and an engine rounds in the convolution before the pool, pools integers,
or looks integers up.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper

MOVES = {"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"}
FLOAT = onnx.TensorProto.FLOAT


def sink_quantizers(graph: onnx.GraphProto) -> None:
    """Gives every quantizer a twin at the source of its numbers, and stores tables that it alone reads as integers."""
    sunk = _Sunk(graph)
    for node in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        sunk.move(node)
    sunk.write()


class _Sunk:
    """One graph while its quantizers are moved."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers = Counter(name for node in graph.node for name in node.input if name)
        self.readers.update(value.name for value in graph.output)
        self.after: dict[str, list[onnx.NodeProto]] = {}  # name of a value -> what is put behind its maker
        self.first: list[onnx.NodeProto] = []  # behind the graph's inputs
        self.gone: list[str] = []  # outputs of quantizers that nobody needs any more

    def move(self, quantizer: onnx.NodeProto) -> None:
        """Walks up from one quantizer."""
        if any(name not in self.stored or self.stored[name].dims for name in quantizer.input[1:]):
            return
        value, moved = quantizer.input[0], False
        while (maker := self._only_for_one(value)) is not None and maker.op_type in MOVES and len(maker.output) == 1:
            value, moved = maker.input[0], True
        if maker is None or maker.op_type == "DequantizeLinear":
            return
        if maker.op_type == "Concat" and not moved:
            self._join(maker, quantizer)
        elif moved:
            self._round_at(value, quantizer)

    def _only_for_one(self, value: str) -> onnx.NodeProto | None:
        """What makes a value that one node alone reads."""
        return self.makers.get(value) if self.readers[value] == 1 else None

    def _join(self, concat: onnx.NodeProto, quantizer: onnx.NodeProto) -> None:
        """Joins integers, if some of them come from a table that can be stored as such."""
        if not any(self._is_lookup(name) for name in concat.input):
            return
        for place, value in enumerate(concat.input):
            if self._is_lookup(value):
                self._store_rounded(self.makers[value].input[0], quantizer)
            else:
                concat.input[place] = f"{value}_integers_{place}_{concat.output[0]}"
                self._put(value, [self._node("QuantizeLinear", value, concat.input[place], quantizer)])
        concat.output[0] = quantizer.output[0]
        self.gone.append(quantizer.output[0])

    def _is_lookup(self, value: str) -> bool:
        maker = self._only_for_one(value)
        if maker is None or maker.op_type != "Gather" or self.readers[maker.input[0]] != 1:
            return False
        table = self.stored.get(maker.input[0])
        return table is not None and table.data_type == FLOAT

    def _store_rounded(self, name: str, quantizer: onnx.NodeProto) -> None:
        table, scale, zero_point = (numpy_helper.to_array(self.stored[one]) for one in (name, *quantizer.input[1:]))
        limits = np.iinfo(zero_point.dtype)
        numbers = np.rint(table / scale).astype(np.int64) + int(zero_point)
        rounded = numbers.clip(limits.min, limits.max).astype(zero_point.dtype)
        self.stored[name].CopyFrom(numpy_helper.from_array(rounded, name))

    def _round_at(self, value: str, quantizer: onnx.NodeProto) -> None:
        """Puts a quantizer and its inverse behind `value`, for its one reader."""
        reader = next(node for node in self.graph.node if value in node.input)
        integers, rounded = f"{value}_integers", f"{value}_rounded"
        pair = [
            self._node("QuantizeLinear", value, integers, quantizer),
            self._node("DequantizeLinear", integers, rounded, quantizer),
        ]
        reader.input[:] = [rounded if name == value else name for name in reader.input]
        self._put(value, pair)

    def _node(self, kind: str, value: str, output: str, quantizer: onnx.NodeProto) -> onnx.NodeProto:
        made = onnx.helper.make_node(kind, [value, *quantizer.input[1:]], [output], name=output)
        made.metadata_props.extend(quantizer.metadata_props)
        return made

    def _put(self, value: str, nodes: list[onnx.NodeProto]) -> None:
        if value in self.makers:
            self.after.setdefault(value, []).extend(nodes)
        else:
            self.first.extend(nodes)

    def write(self) -> None:
        """Puts the new nodes in their places."""
        nodes = list(self.first)
        for node in self.graph.node:
            if not (node.op_type == "QuantizeLinear" and node.output[0] in self.gone):
                nodes.append(node)
            for name in node.output:
                nodes += self.after.get(name, ())
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(copies)
