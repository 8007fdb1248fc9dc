"""Drops class by class, agreement and the train-test gap, on answers made up by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paring.core.task import Batches, Task
from paring.data.batches import batches
from paring.engines.protocol import Array, Arrays
from paring.errors import ShapeError
from paring.measure.metrics import accuracy, auc, log_loss, rmse
from paring.measure.quality import file_outputs, quality
from paring.measure.slices import agreement, class_drops, slice_drops, train_gap, training_examples
from paring.numerics.statistics import tango_interval


def logits(*classes: int, num_classes: int = 3) -> Tensor:
    """Answers that name these classes."""
    return nn.functional.one_hot(torch.tensor(classes), num_classes) * 2.0


TARGETS = torch.tensor([0] * 10 + [1] * 6 + [2] * 4)
BEFORE = logits(*[0] * 10, *[1] * 6, *[2] * 4)
AFTER = logits(*[0] * 10, *[1] * 5, 0, *[0] * 3, 2)  # one of six and three of four lost


def test_a_loss_on_a_small_class_shows_first_with_its_interval() -> None:
    drops = class_drops(accuracy, BEFORE, AFTER, TARGETS)
    assert [(one.name, one.num_examples) for one in drops] == [("class 2", 4), ("class 1", 6), ("class 0", 10)]
    assert [one.drop for one in drops] == pytest.approx([3 / 4, 1 / 6, 0])
    assert [one.metric for one in drops] == pytest.approx([1 / 4, 5 / 6, 1])
    assert drops[0].drop_interval == tango_interval(3, 0, 4)
    whole = quality(accuracy, BEFORE, AFTER, TARGETS, split="test")
    assert whole.slices == drops and whole.drop == pytest.approx(4 / 20)


def test_drops_point_the_right_way_where_lower_is_better() -> None:
    drops = class_drops(log_loss, BEFORE, AFTER, TARGETS)
    assert drops[0].name == "class 2" and drops[0].drop > 0
    assert drops[0].drop_interval is not None and drops[0].drop_interval[0] <= drops[0].drop
    assert drops[-1].drop == 0


@pytest.mark.parametrize(
    ("metric", "before", "targets"),
    [
        (auc, BEFORE, TARGETS),  # no mean over examples
        (accuracy, BEFORE, torch.zeros(20, dtype=torch.long)),  # one class only
        (rmse, torch.rand(20), torch.rand(20)),  # no classes
        (accuracy, logits(*range(101), num_classes=101), torch.arange(101)),  # too many
    ],
)
def test_where_classes_mean_nothing_there_are_no_drops(metric: object, before: Tensor, targets: Tensor) -> None:
    assert class_drops(metric, before, before, targets) == ()  # type: ignore[arg-type]


def test_groups_may_overlap_and_tiny_ones_are_left_out() -> None:
    groups = {
        "all": torch.ones(20, dtype=torch.bool), "small": TARGETS == 2, "one": torch.arange(20) == 3,
        "none": torch.zeros(20, dtype=torch.bool),
    }  # fmt: skip
    drops = slice_drops(accuracy, BEFORE, AFTER, TARGETS, groups)
    assert [(one.name, one.drop) for one in drops] == [("small", 0.75), ("all", pytest.approx(0.2))]


def test_a_figure_that_is_no_mean_is_taken_within_a_group_and_bootstrapped() -> None:
    scores, targets = torch.arange(12.0), torch.tensor([0, 1] * 6)
    spoilt = scores.flip(0)
    (drop,) = slice_drops(auc, scores, spoilt, targets, {"half": torch.arange(12) < 8})
    assert drop.metric == pytest.approx(auc(spoilt[:8], targets[:8]))
    assert drop.drop == pytest.approx(auc(scores[:8], targets[:8]) - drop.metric)
    assert drop.drop_interval is not None and drop.drop_interval[0] < drop.drop_interval[1]


@pytest.mark.parametrize("mask", [torch.ones(19, dtype=torch.bool), torch.ones(20)])
def test_a_mask_that_does_not_fit_is_refused(mask: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"slice 'odd': its mask is .*it must be boolean, \(20,\)"):
        slice_drops(accuracy, BEFORE, AFTER, TARGETS, {"odd": mask})


def test_agreement_with_the_original_by_hand() -> None:
    p, q = torch.tensor([[log(0.75), log(0.25)]]), torch.tensor([[log(0.5), log(0.5)]])
    seen = agreement(p.repeat(4, 1), torch.cat([q, q, p, p]), torch.zeros(4, dtype=torch.long))
    assert seen is not None
    assert seen.mean_kl == pytest.approx((0.75 * log(1.5) + 0.25 * log(0.5)) / 2)
    seen = agreement(BEFORE, AFTER, TARGETS)
    assert seen is not None and seen.top1 == pytest.approx(16 / 20)
    same = agreement(BEFORE, BEFORE, TARGETS)
    assert same is not None and (same.top1, same.mean_kl) == (1.0, 0.0)


def test_agreement_of_one_logit_is_that_of_two_classes_and_shifts_change_nothing() -> None:
    one = agreement(torch.tensor([[0.0], [3.0]]), torch.tensor([[log(3.0)], [3.0]]), torch.tensor([1, 0]))
    assert one is not None
    assert one.mean_kl == pytest.approx((0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75)) / 2)
    shifted = agreement(BEFORE, BEFORE + 7, TARGETS)
    assert shifted is not None and shifted.mean_kl == pytest.approx(0, abs=1e-12)


def test_agreement_over_positions_and_none_for_regression() -> None:
    tokens = torch.stack([logits(0, 1).T, logits(2, 2).T])  # (2, classes, positions)
    seen = agreement(tokens, tokens.flip(0), torch.zeros(2, 2, dtype=torch.long))
    assert seen is not None and seen.top1 == 0
    assert seen.mean_kl == pytest.approx(2 * (exp(2) - 1) / (exp(2) + 2))
    assert agreement(torch.rand(4), torch.rand(4), torch.rand(4)) is None
    assert agreement(torch.rand(4, 2), torch.rand(4, 2), torch.rand(4, 2)) is None


@dataclass(frozen=True)
class Sign:
    """A session that answers one logit: the first number of each row. It remembers how many rows it saw."""

    seen: list[int]

    input_names = ("x",)

    def run(self, inputs: Arrays) -> list[Array]:
        self.seen.append(len(inputs["x"]))
        return [np.asarray(inputs["x"][:, 0])]

    prepare = run  # type: ignore[assignment]


def gap_task(train: Batches | None) -> Task:
    x, y = torch.linspace(-1, 1, 40)[:, None], (torch.linspace(-1, 1, 40) > 0).long()
    data = batches(x, y, 10)
    return Task(nn.Linear(1, 1), x[:2], validation=data, train=train, loss=nn.functional.mse_loss, metric=accuracy)


def gap_of(session: Sign, task: Task, held_out: float, num_examples: int) -> float | None:
    """The gap on as many training examples, as a file's headline has it."""
    return train_gap(task, *file_outputs(session, training_examples(task, num_examples)), held_out)


def test_the_gap_is_what_training_data_is_better_by_over_as_many_examples() -> None:
    x = torch.linspace(-1, 1, 40)[:, None]
    right = batches(x, (x[:, 0] > 0).long(), 10)
    session = Sign([])
    assert gap_of(session, gap_task(right), 0.75, 20) == pytest.approx(0.25)
    assert session.seen == [10, 10]
    half_right = batches(x, torch.tensor([0, 1] * 20), 10)
    assert gap_of(Sign([]), gap_task(half_right), 0.75, 40) == pytest.approx(-0.25)


def test_the_gap_is_the_same_each_time_from_a_shuffling_loader_and_none_without_training_data() -> None:
    x = torch.linspace(-1, 1, 40)[:, None]
    shuffled = batches(x, torch.arange(40) % 3 // 2, 10, shuffle=True)
    task = gap_task(shuffled)
    before = torch.random.get_rng_state()
    first, second = (gap_of(Sign([]), task, 0.5, 10) for _ in range(2))
    assert first == second
    assert torch.equal(torch.random.get_rng_state(), before)
    assert training_examples(gap_task(None), 10) == []
    assert training_examples(replace(gap_task(None), train=[]), 10) == []
    unlabelled = replace(gap_task(batches(x, torch.full((40,), torch.nan), 10)), metric=rmse)
    assert gap_of(Sign([]), unlabelled, 0.5, 10) is None
