"""Attention whose heads can be cut: plain Linear projections, found by their names and sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from paring.graph.groups import ChannelGroup, Member

# Hugging Face BERT and RoBERTa; DistilBERT; ViT; ours behind UnfuseAttention.
PROJECTIONS = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"), ("q_proj", "k_proj", "v_proj"))
OUTPUTS = ("out_lin", "o_proj", "out_proj")
HEAD_COUNTS = ("num_attention_heads", "n_heads", "num_heads")
HEAD_SIZES = ("attention_head_size", "head_dim")


@dataclass(frozen=True)
class Attention:
    """One attention: module path, its projections' paths, the width of a head, and the sizes that the module states."""

    name: str
    inputs: tuple[str, str, str]
    output: str
    num_heads: int
    head_dim: int
    count_attribute: str

    def sizes(self, module: nn.Module, kept: int) -> tuple[tuple[str, int], ...]:
        """(attribute, value) of `module` after a cut to `kept` heads."""
        total = (("all_head_size", kept * self.head_dim),) if hasattr(module, "all_head_size") else ()
        return ((self.count_attribute, kept), *total)

    def group(self, model: nn.Module) -> ChannelGroup:
        """The heads as coupled units: rows of the three projections, columns of the output."""
        places = tuple(tuple(range(head * self.head_dim, (head + 1) * self.head_dim)) for head in range(self.num_heads))
        members = [
            Member(f"{layer}.{leaf}", 0, self.num_heads * self.head_dim, places, "produces")
            for layer in self.inputs
            for leaf, tensor in model.get_submodule(layer)._parameters.items()
            if tensor is not None
        ]
        members.append(Member(f"{self.output}.weight", 1, self.num_heads * self.head_dim, places, "consumes"))
        return ChannelGroup(self.name, self.num_heads, self.head_dim, tuple(members), (self.output, *self.inputs))


def attentions(model: nn.Module) -> Iterator[Attention]:
    """Every attention with three like projections and one output, in `named_modules` order."""
    for name, module in model.named_modules():
        for names in PROJECTIONS:
            projections = [module._modules.get(child) for child in names]
            output = _output(model, name)
            count = next((attribute for attribute in HEAD_COUNTS if hasattr(module, attribute)), None)
            if output is None or count is None or not all(type(p) is nn.Linear for p in projections):
                continue
            sizes = {p.out_features for p in projections if isinstance(p, nn.Linear)}
            heads = int(getattr(module, count))
            size = next((int(getattr(module, a)) for a in HEAD_SIZES if hasattr(module, a)), max(sizes) // heads)
            if sizes == {heads * size}:
                paths = tuple(f"{name}.{child}" if name else child for child in names)
                yield Attention(name, (paths[0], paths[1], paths[2]), output, heads, size, count)


def _output(model: nn.Module, name: str) -> str | None:
    """The Linear behind the heads: a child, or BERT's `output.dense` beside the attention."""
    module = model.get_submodule(name)
    for child in OUTPUTS:
        if type(module._modules.get(child)) is nn.Linear:
            return f"{name}.{child}" if name else child
    beside = f"{name.rpartition('.')[0]}.output.dense".lstrip(".")
    try:
        return beside if type(model.get_submodule(beside)) is nn.Linear else None
    except AttributeError:
        return None
