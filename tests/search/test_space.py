"""What a search may draw for a task: embedding tables go to integers with everything else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from paring import Target
from paring.allocate.step import Allocate
from paring.finetune import Finetune
from paring.quantize.embedding import Embedding
from paring.quantize.static import Static
from paring.search.draws import Scripted
from paring.search.space import _has_tables, space_for
from tests.nets import TASKS, image_task


@pytest.mark.parametrize("finish", ["int8", "dynamic", "int4"])
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


def test_what_is_tried_first_fits_the_processor_and_the_net() -> None:
    space = space_for(image_task(), Target())
    asked = [
        [one.script.get("speedup") for one in space.first(vnni) if one.script["family"] == "allocate"]
        for vnni in (False, True)
    ]
    assert asked == [[2.0, 3.0], [4.0, 6.0]]
    assert {one.script["learning_rate"] for one in space.first(True)} == {1e-3}
    encoder = replace(space, families=(*space.families, "neurons"), precision="bf16")
    cut = next(one for one in encoder.first(True) if one.script["family"] == "neurons" and one.script["epochs"])
    recovery = encoder.recipe(cut).passes[1]
    assert isinstance(recovery, Finetune)
    assert (recovery.learning_rate, recovery.precision, recovery.epochs) == (1e-4, "bf16", 2)


def test_integers_in_residual_additions_are_tried_where_there_are_any() -> None:
    residual = space_for(image_task(), Target())
    plain = space_for(TASKS["vectors"](), Target())
    for space, there in ((plain, False), (residual, True)):
        second = space.recipe(space.first(True)[1]).passes[-1]
        assert ("int8 adds" in space.finishes) == there
        assert (isinstance(second, Static) and second.placement == "adds") == there
    bare = space_for(replace(image_task(), calibration=None), Target())
    assert [one.script.get("finish") for one in bare.first(True)] == ["half"]


def test_the_solver_is_asked_for_what_may_be_lost_or_else_for_speed() -> None:
    lossy = space_for(image_task(), Target(), max_drop=0.005)
    asked = [lossy.recipe(one).passes[0] for one in lossy.first(True) if one.script["family"] == "allocate"]
    assert [(one.max_loss, one.speedup, one.shrink) for one in asked if isinstance(one, Allocate)] == [
        (0.005, None, 2.0),
        (0.0025, None, 2.0),
        (0.02, None, 2.0),
    ]
    fast = space_for(image_task(), Target())
    first, *_ = (fast.recipe(one).passes[0] for one in fast.first(True) if one.script["family"] == "allocate")
    assert isinstance(first, Allocate)
    assert (first.max_loss, first.speedup, first.shrink) == (None, 4.0, 4.0)


def test_a_drop_that_is_no_fraction_of_answers_is_no_loss_of_the_solver() -> None:
    assert space_for(image_task(), Target(), max_drop=1.0).losses == ()
    assert space_for(image_task(), Target(), max_drop=-0.01).losses == ()
    num_in = image_task().example_inputs[0].numel()
    valued = image_task(model=nn.Sequential(nn.Flatten(), nn.Linear(num_in, 1)).eval())
    valued = replace(valued, loss=lambda answers, targets: (answers[:, 0] - targets).square().mean())
    assert space_for(valued, Target(), max_drop=0.005).losses == ()
