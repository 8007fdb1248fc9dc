"""Objectives over outputs: against their formulas, over tokens, rates and single logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from paring.distill.decoupled import Decoupled
from paring.distill.dist import Dist
from paring.distill.response import Response
from paring.errors import SettingError, ShapeError, TaskError, UnknownNameError
from tests.distill.nets import outputs
from tests.nets import vector_task

TARGET = torch.tensor([0, 1, 2, 3, 0])


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_response_is_hintons_loss() -> None:
    student, teacher = random(5, 4), random(5, 4, seed=2)
    p, q = F.softmax(teacher / 3, -1), F.softmax(student / 3, -1)
    kl = (p * (p / q).log()).sum(-1).mean()
    expected = 0.7 * 9 * kl + 0.3 * F.cross_entropy(student, TARGET)
    got = Response(temperature=3.0, alpha=0.7).score(outputs(student, teacher, TARGET), vector_task())
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("objective", [Response(alpha=1.0), Dist(hard=0.0), Response(alpha=1.0, kind="huber")])
def test_without_a_hard_part_labels_are_not_read_and_agreement_costs_nothing(objective) -> None:  # type: ignore[no-untyped-def]
    teacher = random(5, 4)
    assert objective.score(outputs(teacher, teacher), vector_task()).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("objective", [Response(alpha=1.0), Decoupled(hard=0.0), Dist(hard=0.0)])
def test_padded_tokens_do_not_count(objective) -> None:  # type: ignore[no-untyped-def]
    """(2, 3) tokens of 4 classes, the last two padded: the loss is that of the four others."""
    student, teacher = random(2, 4, 3), random(2, 4, 3, seed=2)
    target = torch.tensor([[0, 1, -100], [2, 3, 1]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    seen = outputs(student, teacher, target, {"attention_mask": mask, "input_ids": mask})
    kept = [(0, 0), (0, 1), (1, 0), (1, 1)]
    rows = [torch.stack([x[b, :, t] for b, t in kept]) for x in (student, teacher)]
    alone = outputs(rows[0], rows[1], torch.tensor([target[b, t] for b, t in kept]))
    got = objective.score(seen, vector_task()).item()
    assert got == pytest.approx(objective.score(alone, vector_task()).item(), rel=1e-5)
    changed = teacher.clone()
    changed[1, :, 2] += 5
    other = outputs(student, changed, target, {"attention_mask": mask, "input_ids": mask})
    assert objective.score(other, vector_task()).item() == pytest.approx(got, rel=1e-6)


def test_classes_may_lie_in_the_last_dimension() -> None:
    student, teacher = random(2, 3, 4), random(2, 3, 4, seed=2)
    last = Response(alpha=1.0, class_dim=-1).score(outputs(student, teacher), vector_task())
    first = Response(alpha=1.0).score(outputs(student.mT, teacher.mT), vector_task())
    assert last.item() == pytest.approx(first.item(), rel=1e-6)
    with pytest.raises(ShapeError, match="class_dim is 5"):
        Response(alpha=1.0, class_dim=5).score(outputs(student, teacher), vector_task())


def test_one_output_is_the_logit_of_the_second_of_two_classes() -> None:
    student, teacher = random(5, 1), random(5, 1, seed=2)
    both = [torch.cat((torch.zeros_like(x), x), 1) for x in (student, teacher)]
    for objective in (Response(alpha=1.0), Decoupled(hard=0.0), Dist(hard=0.0)):
        target = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
        single = objective.score(outputs(student, teacher, target), vector_task())
        double = objective.score(outputs(both[0], both[1], target.long()), vector_task())
        assert single.item() == pytest.approx(double.item(), rel=1e-5)


def test_regression_and_rates() -> None:
    student, teacher = random(5, 1), random(5, 1, seed=2)
    seen = outputs(student, teacher)
    for kind, expected in (
        ("mse", F.mse_loss(student, teacher)),
        ("huber", F.huber_loss(student, teacher, delta=0.5)),
        ("poisson", (student.exp() - teacher.exp() - teacher.exp() * (student - teacher)).mean()),
    ):
        got = Response(alpha=1.0, kind=kind, delta=0.5).score(seen, vector_task())  # type: ignore[arg-type]
        assert got.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Response(temperature=0.0),
        lambda: Response(alpha=1.5),
        lambda: Response(delta=-1),
        lambda: Decoupled(beta=-1),
        lambda: Dist(temperature=0),
    ],
)
def test_bad_settings_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError, match=r"distill\."):
        make()


def test_an_unknown_kind_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'poisson'"):
        Response(kind="poison")  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", [Response(), Decoupled(), Dist(), Response(kind="poisson")])
def test_shapes_of_student_and_teacher_must_agree(objective) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ShapeError, match=r"student answers \(5, 4\), the teacher \(5, 3\)"):
        objective.score(outputs(torch.rand(5, 4), torch.rand(5, 3), TARGET), vector_task())


def test_decoupled_needs_class_labels() -> None:
    with pytest.raises(TaskError, match="needs class labels"):
        Decoupled().score(outputs(random(5, 4), random(5, 4)), vector_task())
