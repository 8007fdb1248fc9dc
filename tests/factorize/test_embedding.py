"""Low-rank embedding tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from paring.candidates import compress, rebuild
from paring.core.recipe import Recipe
from paring.errors import LayerError, ShapeError, UnknownNameError
from paring.factorize.embedding import Embedding
from paring.factorize.rank import Energy, Rank
from paring.graph.edits.factorize_embedding import FactorizeEmbedding, LowRankEmbedding
from paring.quantize.static import Static
from tests.nets import dict_task


def test_uniform_is_the_svd_of_the_table() -> None:
    task = dict_task()
    model = rebuild(compress(task, Recipe((Embedding(rank=Rank(4), weighting="uniform"),))), task)
    assert isinstance(model.embed, LowRankEmbedding)
    assert model.embed.num_embeddings == 20 and model.embed.embedding_dim == 12
    table = task.model.embed.weight.detach()
    error = torch.dist(model.embed(torch.arange(20)), table).item()
    assert error == pytest.approx(torch.linalg.svdvals(table)[4:].norm().item(), rel=1e-4)


def test_common_rows_are_kept_better_than_rare_ones() -> None:
    task = dict_task()
    tokens = task.calibration.inputs["tokens"]  # type: ignore[union-attr]
    tokens[torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)) < 0.9] = 3
    errors = {}
    for weighting in ("uniform", "frequency"):
        step = Embedding(rank=Rank(3), weighting=weighting)  # type: ignore[arg-type]
        model = rebuild(compress(task, Recipe((step,))), task)
        with torch.no_grad():
            errors[weighting] = torch.dist(model.embed(torch.tensor([3])), task.model.embed.weight[3:4]).item()
    assert errors["frequency"] < 0.5 * errors["uniform"]


def test_the_padding_row_stays_zero_and_keeps_its_index() -> None:
    task = dict_task()
    torch.manual_seed(0)
    task.model.embed = nn.Embedding(20, 12, padding_idx=5)
    model = rebuild(compress(task, Recipe((Embedding(rank=Rank(4)),))), task)
    assert model.embed[0].padding_idx == 5 and not model.embed(torch.tensor([5])).any()


def test_a_rank_that_saves_nothing_and_one_above_full() -> None:
    candidate = compress(dict_task(), Recipe((Embedding(rank=Energy(1.0)),)))
    assert candidate.edits == () and "saves nothing on 20 x 12" in candidate.declined[0].reason
    with pytest.raises(ShapeError, match="embed: rank 13 is above the full rank 12"):
        compress(dict_task(), Recipe((Embedding(rank=Rank(13)),)))


def test_tables_that_renormalize_and_tables_of_nan_are_not_touched() -> None:
    task = dict_task()
    task.model.embed.max_norm = 1.0
    assert "max_norm" in compress(task, Recipe((Embedding(rank=Rank(3)),))).declined[0].reason
    with pytest.raises(LayerError, match="max_norm"):
        compress(task, Recipe((Embedding(rank=Rank(3), include=("embed",)),)))
    with pytest.raises(ShapeError, match="max_norm"):
        FactorizeEmbedding("embed", 3).apply(task.model)
    task = dict_task()
    with torch.no_grad():
        task.model.embed.weight[0, 0] = torch.nan
    with pytest.raises(LayerError, match="embed: its weight holds NaN"):
        compress(task, Recipe((Embedding(rank=Rank(3)),)))


def test_a_table_tied_to_the_head_is_declined() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(20, 6), nn.Linear(6, 20, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
            return self.head(self.embed(tokens).mean(1))

    candidate = compress(replace(dict_task(), model=Tied().eval()), Recipe((Embedding(rank=Rank(2)),)))
    assert candidate.declined[0].layer == "embed" and "shared with head" in candidate.declined[0].reason


def test_the_linear_behind_the_table_is_quantized_afterwards() -> None:
    task = dict_task()
    candidate = compress(task, Recipe((Embedding(rank=Rank(3)), Static())))
    assert any(edit.to_json().get("layer") == "embed.1" for edit in candidate.edits)


def test_a_misspelt_weighting_is_named() -> None:
    with pytest.raises(UnknownNameError, match="frequency"):
        Embedding(weighting="frequent")  # type: ignore[arg-type]
    assert Embedding(weighting="uniform").requirements() == frozenset()
