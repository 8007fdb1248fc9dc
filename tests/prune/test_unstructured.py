"""Masks chosen by data, by curvature and by learning; N:M patterns; schedules; masks that hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring import Recipe, Task, batches, compress, rebuild
from paring.core.recipe import Pass
from paring.distill.response import Response
from paring.errors import MissingError, SettingError, UnknownNameError
from paring.finetune import Finetune
from paring.graph.curvature import hessian_diagonals
from paring.numerics.importance import NM
from paring.numerics.obs import damped, refit
from paring.prune.magnitude import Magnitude
from paring.prune.movement import Movement
from paring.prune.obs import Obs
from paring.prune.settings import Cubic
from paring.prune.wanda import Wanda
from tests.nets import image_task, vector_task
from tests.passes import output_error, run, task_of


def correlated(num: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, width, generator=generator) @ torch.randn(width, width, generator=generator) / width**0.5


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 8))


def zeros(model: nn.Module, name: str) -> Tensor:
    return model.get_submodule(name).weight == 0


def test_wanda_ranks_by_weight_times_input_norm_row_by_row() -> None:
    x = torch.randn(64, 24, generator=torch.Generator().manual_seed(0)) * torch.logspace(-1, 1, 24)
    model = net()
    after, _ = run(Wanda(sparsity=0.5, include=("0",)), task_of(model, x))
    score = model[0].weight.detach().abs() * x.norm(dim=0)
    lost = zeros(after, "0")
    assert (lost.sum(1) == 12).all()
    assert (score.masked_fill(lost, 1e9).amin(1) >= score.masked_fill(~lost, 0).amax(1)).all()
    assert torch.equal(after[0].weight[~lost], model[0].weight[~lost])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sparsity", [0.5, 0.7])
def test_what_reads_the_inputs_loses_less(seed: int, sparsity: float) -> None:
    x, model = correlated(512, 24, seed), net(seed)
    steps = (Magnitude(sparsity=sparsity, scope="layer"), Wanda(sparsity=sparsity), Obs(sparsity=sparsity))
    by_size, by_norm, by_surgery = (output_error(model, run(step, task_of(model, x))[0], x) for step in steps)
    assert by_surgery < 0.8 * by_size and by_surgery < by_norm


def test_surgery_solves_the_rest_by_least_squares() -> None:
    x, model = correlated(512, 24), net()
    after, _ = run(Obs(sparsity=0.5, include=("0",)), task_of(model, x))
    H_II = damped(x.double().T @ x.double() / len(x), 0.01)
    expected = refit(model[0].weight.detach().double(), H_II, ~zeros(after, "0"))
    assert torch.allclose(after[0].weight.detach().double(), expected, atol=1e-5)


@pytest.mark.parametrize("n_of_m", [(2, 4), (4, 8)])
@pytest.mark.parametrize("make", [Magnitude, Wanda, Obs, Movement])
def test_patterns_are_exact(make: type, n_of_m: tuple[int, int]) -> None:
    n, m = n_of_m
    extra = {"schedule": Cubic(epochs=1, begin=0.2, interval=1)} if make is Movement else {}
    x = correlated(64, 24)
    task = replace(task_of(net(), x), train=batches(x, torch.zeros(64, dtype=torch.long), 16))
    after, _ = run(make(pattern=NM(n, m), **extra), task)
    for name in ("0", "2"):
        kept = (~zeros(after, name)).reshape(-1, m).sum(1)
        assert (kept == n).all()


def test_second_derivatives_are_the_exact_hessian_diagonal() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    data = batches(x, y, 16)
    task = replace(task_of(model, x), calibration=data, loss=F.cross_entropy)
    found = hessian_diagonals(model, ["0", "2"], task, "test")
    for name in ("0", "2"):
        weight = model.get_submodule(name).weight.detach()

        def loss(w: Tensor, name: str = name) -> Tensor:
            return F.cross_entropy(torch.func.functional_call(model, {f"{name}.weight": w}, (x,)), y)

        exact = torch.autograd.functional.hessian(loss, weight).reshape(weight.numel(), weight.numel()).diagonal()
        assert torch.allclose(found[name].float().flatten(), exact, atol=1e-5)


def test_brain_damage_takes_weights_that_do_not_matter() -> None:
    """Large weights on an input that is always zero cost nothing: magnitude keeps them, OBD does not."""
    torch.manual_seed(0)
    model, x = net(), torch.randn(64, 24)
    x[:, :6] = 0
    with torch.no_grad():
        model[0].weight[:, :6] = 5.0
    task = replace(task_of(model, x), calibration=batches(x, torch.randint(0, 8, (64,)), 32))
    obd, _ = run(Magnitude(sparsity=0.25, importance="obd", include=("0",)), task)
    plain, _ = run(Magnitude(sparsity=0.25, include=("0",)), task)
    assert zeros(obd, "0")[:, :6].all() and not zeros(plain, "0")[:, :6].any()
    assert output_error(model, obd, x) == 0


def learnable() -> Task:
    torch.manual_seed(0)
    x = torch.randn(512, 24)
    y = x[:, :8].reshape(-1, 4, 2).sum(2).argmax(1)
    data = batches(x, y, 64)
    task = replace(
        vector_task(), model=net(), example_inputs=x[:2], train=batches(x, y, 64, shuffle=True), calibration=data,
        validation=data, test=data,
    )  # fmt: skip
    return replace(task, model=rebuild(compress(task, Recipe((Finetune(epochs=12, learning_rate=5e-3),))), task))


SCHEDULE = Cubic(epochs=18, learning_rate=5e-3, begin=0.1, interval=4, objective=Response(temperature=2.0))


@pytest.mark.parametrize(
    "step",
    [
        Movement(sparsity=0.8, schedule=SCHEDULE),
        Movement(sparsity=0.8, schedule=SCHEDULE, importance="sensitivity"),
        Magnitude(sparsity=0.8, schedule=SCHEDULE),
    ],
)
def test_gradual_pruning_ends_at_its_sparsity_and_beats_one_shot(step: Pass) -> None:
    task = learnable()
    gradual = rebuild(compress(task, Recipe((step,))), task)
    one_shot = rebuild(compress(task, Recipe((Magnitude(sparsity=0.8),))), task)
    x, y = (torch.cat(parts) for parts in zip(*task.validation, strict=True))
    losses = [float(F.cross_entropy(model(x), y).detach()) for model in (gradual, one_shot)]
    assert losses[0] < 0.8 * losses[1]
    lost = torch.cat([zeros(gradual, name).flatten() for name in ("0", "2")])
    assert float(lost.float().mean()) == pytest.approx(0.8, abs=0.003)


def test_movement_begins_at_the_magnitudes_of_a_trained_model() -> None:
    """A model whose training says nothing loses its smallest weights, and one that is asked to forget them does not."""
    task, still = learnable(), Cubic(epochs=1, learning_rate=1e-9, begin=0.1, interval=1)
    found = {
        initial: rebuild(
            compress(task, Recipe((Movement(sparsity=0.7, rate=1e-9, initial=initial, schedule=still),))), task
        )
        for initial in ("magnitude", "zero")
    }
    smallest = rebuild(compress(task, Recipe((Magnitude(sparsity=0.7, scope="layer"),))), task)
    for name in ("0", "2"):
        assert torch.equal(zeros(found["magnitude"], name), zeros(smallest, name))
        assert not torch.equal(zeros(found["zero"], name), zeros(smallest, name))


@pytest.mark.parametrize("step", [Wanda(sparsity=0.5), Obs(sparsity=0.5)])
def test_masks_hold_through_later_training(step: Pass) -> None:
    task = image_task()
    before = rebuild(compress(task, Recipe((step,))), task)
    after = rebuild(compress(task, Recipe((step, Finetune(epochs=1, learning_rate=1e-2)))), task)
    for name in ("stem", "conv1", "conv2", "head"):
        assert torch.equal(zeros(before, name), zeros(after, name)) and zeros(before, name).any()
        assert not torch.equal(before.get_submodule(name).weight, after.get_submodule(name).weight)


def test_an_earlier_mask_stays_under_surgery() -> None:
    task = vector_task()
    first = rebuild(compress(task, Recipe((Magnitude(sparsity=0.4),))), task)
    both = rebuild(compress(task, Recipe((Magnitude(sparsity=0.4), Obs(sparsity=0.6)))), task)
    for name in ("first", "head"):
        assert (zeros(both, name) | ~zeros(first, name)).all()


def test_what_is_refused() -> None:
    for make in (Wanda, Obs, Movement):
        for sparsity in (0.0, 1.0, -0.5):
            with pytest.raises(SettingError, match="sparsity is"):
                make(sparsity=sparsity)
        with pytest.raises(SettingError, match=r"pattern 2:4 means 0\.5"):
            make(sparsity=0.7, pattern=NM(2, 4))
    with pytest.raises(SettingError, match=r"schedule\.begin is 0"):
        Movement(schedule=Cubic())
    with pytest.raises(UnknownNameError, match="importance"):
        Movement(importance="obd")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="initial"):
        Movement(initial="large")  # type: ignore[arg-type]
    for rate in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(SettingError, match="rate is"):
            Movement(rate=rate)
    with pytest.raises(SettingError, match=r"begin is 0\.5 and end 0\.2"):
        Cubic(begin=0.5, end=0.2)
    with pytest.raises(MissingError, match="calibration"):
        compress(replace(vector_task(), calibration=None), Recipe((Wanda(),)))
    with pytest.raises(MissingError, match="train"):
        compress(replace(vector_task(), train=None), Recipe((Movement(),)))
