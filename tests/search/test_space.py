"""What a search may draw for a task: embedding tables go to integers with everything else."""

from __future__ import annotations

import pytest
from torch import nn

from paring import Target
from paring.quantize.embedding import Embedding
from paring.search.draws import Scripted
from paring.search.space import _has_tables, space_for
from tests.nets import TASKS, image_task


@pytest.mark.parametrize("finish", ["int8", "int8 adds", "dynamic", "int4"])
def test_tables_are_rounded_before_the_rest(finish: str) -> None:
    space = space_for(TASKS["dict"](), Target())
    recipe = space.recipe(Scripted({"family": "store", "finish": finish}))
    assert isinstance(recipe.passes[0], Embedding) and len(recipe.passes) == 2
    plain = space_for(image_task(), Target())
    assert len(plain.recipe(Scripted({"family": "store", "finish": finish})).passes) == 1


def test_tables_that_another_layer_shares_stay() -> None:
    tied = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 7, bias=False))
    assert _has_tables(tied)
    tied[1].weight = tied[0].weight
    assert not _has_tables(tied)
    assert not _has_tables(nn.Sequential(nn.Embedding(7, 5, max_norm=1.0)))
