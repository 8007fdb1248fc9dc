"""Divergences and relations against their definitions, written out."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from paring.numerics.divergence import correlation_gaps, decoupled_divergence, poisson_divergence, soft_divergence
from paring.numerics.relations import angle_gap, attention_gap, distance_gap, relation_gap, relative_error


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.tensor([0, 1, 2, 3, 4, 0])


def test_poisson_divergence_is_the_sum_over_counts() -> None:
    u, t = torch.tensor([0.3, -1.0], dtype=torch.float64), torch.tensor([0.1, -0.5], dtype=torch.float64)
    counts = torch.arange(60, dtype=torch.float64)
    log_q, log_p = (torch.distributions.Poisson(x.exp()[:, None]).log_prob(counts) for x in (u, t))
    expected = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    assert poisson_divergence(u, t).item() == pytest.approx(expected.item(), rel=1e-9)
    assert poisson_divergence(t, t).item() == pytest.approx(0, abs=1e-12)


def test_poisson_divergence_has_the_gradient_of_the_log_loss_at_the_teachers_rate() -> None:
    u = torch.tensor([0.3, -1.0], dtype=torch.float64, requires_grad=True)
    rate = torch.tensor([0.7, 0.2], dtype=torch.float64)
    (got,) = torch.autograd.grad(poisson_divergence(u, rate.log()), u)
    (wanted,) = torch.autograd.grad((u.exp() - u * rate).mean(), u)
    assert torch.allclose(got, wanted)


def test_the_two_decoupled_parts_add_up_to_plain_distillation(logits) -> None:  # type: ignore[no-untyped-def]
    student, teacher, target = logits
    temperature = 3.0
    rows = []
    for row in range(len(student)):
        tckd, nckd = decoupled_divergence(
            student[row : row + 1], teacher[row : row + 1], target[row : row + 1], temperature
        )
        doubt = 1 - F.softmax(teacher[row] / temperature, -1)[target[row]]
        rows.append(tckd + doubt * nckd)
    expected = soft_divergence(student, teacher, temperature)
    assert torch.stack(rows).mean().item() == pytest.approx(expected.item(), rel=1e-9)


def test_two_classes_have_no_ranking_of_the_others() -> None:
    student, teacher = torch.randn(4, 2), torch.randn(4, 2)
    target, others = decoupled_divergence(student, teacher, torch.tensor([0, 1, 1, 0]), 2.0)
    assert others.item() == pytest.approx(0, abs=1e-7)
    assert target.item() == pytest.approx(soft_divergence(student, teacher, 2.0).item(), rel=1e-4)


def test_correlations_do_not_see_scale_and_shift(logits) -> None:  # type: ignore[no-untyped-def]
    student, teacher, _ = logits
    probabilities = F.softmax(teacher, -1)
    duller = (0.2 + 0.5 * (probabilities - 0.2)).log()  # half as sure, rows still sum to 1
    between, within = correlation_gaps(duller, teacher, 1.0)
    assert between.item() == pytest.approx(0, abs=1e-9) and within.item() == pytest.approx(0, abs=1e-9)
    between, within = correlation_gaps(student, teacher, 1.0)
    pairs = zip(F.softmax(student, -1), probabilities, strict=True)
    expected = 1 - torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs]).mean()
    assert between.item() == pytest.approx(expected.item(), rel=1e-6)
    assert within.item() > 0.1


def test_relative_error_of_zeros_is_one() -> None:
    wanted = torch.randn(7, 3)
    size = wanted.square().mean().item()
    assert relative_error(torch.zeros(7, 3), wanted, size).item() == pytest.approx(1.0)
    assert relative_error(wanted, wanted, size).item() == 0


def test_attention_maps_do_not_see_width_or_scale() -> None:
    student = torch.rand(2, 3, 10)
    wider = torch.cat((student, student), 1) * 7
    assert attention_gap(student, wider).item() == pytest.approx(0, abs=1e-12)
    first = torch.zeros(1, 1, 2)
    first[..., 0] = 1
    assert attention_gap(first, first.flip(-1)).item() == pytest.approx(2.0)  # orthogonal maps of length 1


def test_relations_do_not_see_rotation_and_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    assert distance_gap(x, 3 * x @ turn).item() == pytest.approx(0, abs=1e-12)
    assert angle_gap(x, 3 * x @ turn).item() == pytest.approx(0, abs=1e-12)


def test_distances_and_angles_are_those_of_every_pair_and_triple() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, n, generator=generator, dtype=torch.float64) for n in (3, 5))
    apart = [torch.cdist(z, z) for z in (x, y)]
    scaled = [d / d[~torch.eye(4, dtype=torch.bool)].mean() for d in apart]
    assert distance_gap(x, y).item() == pytest.approx(F.smooth_l1_loss(*scaled).item(), rel=1e-6)
    cosines = []
    for z in (x, y):
        table = torch.zeros(4, 4, 4, dtype=torch.float64)
        for i, j, k in itertools.product(range(4), repeat=3):
            if i not in (j, k):
                table[i, j, k] = F.cosine_similarity(z[j] - z[i], z[k] - z[i], dim=0)
        cosines.append(table)
    assert angle_gap(x, y).item() == pytest.approx(F.smooth_l1_loss(*cosines).item(), rel=1e-6)


def test_relational_gaps_have_finite_slopes_where_examples_coincide() -> None:
    x = torch.ones(3, 2, requires_grad=True)
    (distance_gap(x, torch.rand(3, 2)) + angle_gap(x, torch.rand(3, 2))).backward()
    assert torch.isfinite(x.grad).all()  # type: ignore[arg-type]


def test_token_relations_against_loops_and_without_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    s, t = (torch.randn(1, 3, width, generator=generator, dtype=torch.float64) for width in (4, 8))
    expected = []
    for head in range(2):
        a, b = s[0, :, head * 2 : head * 2 + 2], t[0, :, head * 4 : head * 4 + 4]
        log_q, log_p = (F.log_softmax(x @ x.T / x.shape[1] ** 0.5, -1) for x in (a, b))
        expected.append((log_p.exp() * (log_p - log_q)).sum(-1).mean())
    whole = relation_gap(s, t, 2)
    assert whole.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-9)
    padded = [torch.cat((x, torch.full((1, 2, x.shape[2]), 9.0, dtype=x.dtype)), 1) for x in (s, t)]
    keep = torch.tensor([[True, True, True, False, False]])
    assert relation_gap(padded[0], padded[1], 2, keep).item() == pytest.approx(whole.item(), rel=1e-9)
