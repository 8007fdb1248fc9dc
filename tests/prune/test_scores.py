"""Learned scores against their definitions, batch by batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from paring.prune.scores import Scores, Sensitivity, SignedMovement, scores_for


def batches(num: int, seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 4, generator=generator), [torch.randn(3, 4, generator=generator) for _ in range(num)]


def test_movement_takes_the_steps_of_adam() -> None:
    weight, gradients = batches(7)
    scores = SignedMovement(weight)
    adam = torch.zeros(3, 4, requires_grad=True)
    optimizer = torch.optim.Adam([adam], lr=1.0)
    for gradient in gradients:
        scores.learn_(weight, gradient)
        adam.grad = weight * gradient
        optimizer.step()
    assert torch.allclose(scores.value, adam.detach(), atol=1e-5)


def test_sensitivity_is_the_smooth_product_times_how_much_it_varies() -> None:
    weight, gradients = batches(5)
    scores = Sensitivity(weight)
    smooth, doubt = torch.zeros(3, 4), torch.zeros(3, 4)
    for gradient in gradients:
        now = (weight * gradient).abs()
        smooth = 0.85 * smooth + 0.15 * now
        doubt = 0.95 * doubt + 0.05 * (now - smooth).abs()
        scores.learn_(weight, gradient)
    assert torch.allclose(scores.value, smooth * doubt)


@pytest.mark.parametrize("kind", [("movement", "magnitude"), ("movement", "zero"), ("sensitivity", "magnitude")])
def test_what_is_put_back_goes_on_the_same(kind: tuple[str, str]) -> None:
    weight, gradients = batches(6)

    def fresh() -> Scores:
        return scores_for(*kind, weight, 0.1)  # type: ignore[arg-type]

    whole, half = fresh(), fresh()
    for gradient in gradients:
        whole.learn_(weight, gradient)
    for gradient in gradients[:3]:
        half.learn_(weight, gradient)
    other = fresh()
    for own, kept in zip(other.state(), [tensor.clone() for tensor in half.state()], strict=True):
        own.copy_(kept)
    for gradient in gradients[3:]:
        other.learn_(weight, gradient)
    assert torch.equal(other.value, whole.value)
