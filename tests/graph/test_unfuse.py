"""PyTorch's encoder as plain Linears answers as before."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from paring.errors import LayerError
from paring.graph.edits.unfuse import UnfuseAttention, unfuse_all


def holder(norm_first: bool, batch_first: bool, activation: str, bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 12, dropout=0.0, activation=activation, batch_first=batch_first, norm_first=norm_first, bias=bias
    )
    model = nn.Module()
    model.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_answer_is_the_same(norm_first: bool, batch_first: bool, activation: str) -> None:
    model = holder(norm_first, batch_first, activation)
    plain = UnfuseAttention("encoder").apply(copy.deepcopy(model)).eval()
    x = torch.randn(3, 5, 8) if batch_first else torch.randn(5, 3, 8)
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    for extra in ({}, {"mask": causal}, {"src_key_padding_mask": padding}):
        before, after = model.encoder(x, **extra), plain.encoder(x, **extra)
        if "src_key_padding_mask" in extra:  # padded places hold zeros in the fused path, values in the plain one
            real = ~padding if batch_first else ~padding.T
            before, after = before[real], after[real]
        assert torch.allclose(before, after, atol=1e-5)


def test_without_biases_and_on_meta() -> None:
    model = holder(True, True, "relu", bias=False)
    plain = UnfuseAttention("encoder").apply(copy.deepcopy(model)).eval()
    x = torch.randn(2, 4, 8)
    assert torch.allclose(model.encoder(x), plain.encoder(x), atol=1e-5)
    shape = UnfuseAttention("encoder").apply(copy.deepcopy(model).to("meta"))
    assert {n: p.shape for n, p in shape.named_parameters()} == {n: p.shape for n, p in plain.named_parameters()}


def test_what_cannot_be_unfused_is_said_and_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(LayerError, match=r"only nn\.TransformerEncoder is unfused"):
        UnfuseAttention("0").apply(model)
    assert list(unfuse_all(model)) == []
