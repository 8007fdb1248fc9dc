"""Training with the coded size in view: weights that are not worth their bits go to zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from paring.core.edit import Progress, Step, accepted
from paring.core.objective import Objective, Supervised
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, NothingToDoError, SettingError
from paring.graph.edits.share import ShareWeight, Steps, shared_layer
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.folding import folds
from paring.graph.shared import EvenGrid
from paring.graph.sites import submodule
from paring.graph.targets import targets
from paring.numerics.coded_rounding import LARGEST, rates_of, slopes_of
from paring.train import Schedule, Training, count, fit

MANTISSA_BITS = 5  # of the steps of outputs: within 1 in 32, and the rest of their bits are zero


@final
@dataclass(frozen=True, kw_only=True)
class EntropyQat(Pass):
    """Trains weights on even grids while each is drawn to zero by its bits (Wiedemann et al. 2018, arXiv:1812.07520).

    The forward sees rounded weights, gradients pass straight through, and after each step a proximal one takes
    `learning rate x pressure x marginal bits` off each weight's size: the bits of a model of row and column densities
    that is estimated anew every `refresh` steps. `step` is the grid's, in units of the mean size of a layer's weights
    that are not zero. Any objective: `objective: distill.response` makes it distilled. Masks hold. Batch norms train
    on, and what they multiply by becomes a step for each output. For `paring pack`.
    """

    name: ClassVar[str] = "share.entropy_qat"
    needs: ClassVar[frozenset[str]] = frozenset({"train"})
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Keep one of the two steps."
    }

    pressure: float = 0.02  # what a bit pulls, beside the optimizer's own steps
    step: float = 1.0
    rise: float = 0.3  # share of the training over which the pressure comes up to its value
    end: float = 0.8  # share of the training behind which it no longer acts, and the weights settle
    refresh: int = 100
    bias_bits: int = 6
    epochs: int = 4
    learning_rate: float = 1e-3
    objective: Objective = field(default_factory=Supervised)
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    gradient_clip: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        self.training()
        if self.pressure < 0 or self.step <= 0 or self.refresh < 1:
            raise SettingError(
                f"{self.name}: pressure {self.pressure} must be at least 0, step {self.step} above 0, refresh "
                f"{self.refresh} at least 1."
            )
        if not 0 <= self.rise <= self.end <= 1:
            raise SettingError(f"{self.name}: rise {self.rise} and end {self.end} must rise within [0, 1].")
        if isinstance(self.bias_bits, bool) or not 2 <= self.bias_bits <= 8:
            raise SettingError(f"{self.name}: bias_bits is {self.bias_bits}; it must be a whole number, 2 to 8.")

    def training(self) -> Training:
        """The loop's own settings. Raises SettingError."""
        return Training(
            self.epochs, self.learning_rate, self.weight_decay, self.schedule, self.warmup, self.gradient_clip,
            self.precision,
        )  # fmt: skip

    def requirements(self) -> frozenset[str]:
        """Training data, and what the objective asks for."""
        return self.needs | self.objective.requirements()

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See the class. Raises what training raises, LayerError for NaN in a weight."""
        yield from unfuse_all(model)
        names = []
        for name, layer in (yield from accepted(targets(self, model, (nn.Linear, nn.Conv2d)))):
            weight = layer.get_parameter("weight")
            if not torch.isfinite(weight).all():
                raise LayerError(f"{self.name}: {name}: the weight holds NaN or infinity. Load a sound checkpoint.")
            if weight.requires_grad:
                names.append(name)
            else:
                yield self.decline(name, "its weight is frozen (requires_grad is False)")
        if not names:
            raise NothingToDoError(f"{self.name}: every selected weight is frozen. Set requires_grad on some.")
        learners = {name: _Learner(submodule(model, name), self.step) for name in names}
        yield from self._learn(model, task, list(learners.values()))
        folded = set()
        for edit in folds(model, task.example_inputs, learners.__contains__):
            yield edit
            folded.add(edit.layer)
        for name, learner in learners.items():
            yield from self._stored(model, name, learner, rows=name in folded)

    def _learn(self, model: nn.Module, task: Task, learners: list[_Learner]) -> Iterator[Progress]:
        assert task.train is not None
        total = self.epochs * count(task.train)
        training = self.training()
        with ExitStack() as stack:
            for learner in learners:
                stack.callback(learner.hook.remove)
                learner.show_()
            for progress in fit(model, task, self.objective, training):
                done = progress.done
                act = 0.0 if done > self.end * total else min(1.0, done / max(1.0, self.rise * total))
                strength = act * self.pressure * training.learning_rate * training.rate_at(done - 1, total)
                for learner in learners:
                    learner.take_()
                    if (done - 1) % self.refresh == 0:
                        learner.estimate_()
                    if strength:
                        learner.shrink_(strength)
                    learner.show_()
                yield progress

    @torch.no_grad()
    def _stored(self, model: nn.Module, name: str, learner: _Learner, *, rows: bool) -> Iterator[Step]:
        codes = learner.codes().cpu()  # it learned where the training ran
        layer = submodule(model, name)
        step = torch.tensor(learner.step)
        if rows:
            codes, step = _steps(layer.get_parameter("weight"), codes, learner.step)
        bias = None if layer._parameters["bias"] is None else layer.get_parameter("bias").detach().clone()
        yield ShareWeight(name, Steps(rows=rows), None if bias is None else Steps())
        new = shared_layer(model, name)
        assert isinstance(new.shared, EvenGrid)
        new.shared.set_(codes, step)
        if bias is not None and isinstance(new.shared_bias, EvenGrid):
            largest = 2 ** (self.bias_bits - 1) - 1
            bias_step = max(float(bias.abs().max()) / largest, 1e-12)
            new.shared_bias.set_(torch.round(bias / bias_step), bias_step)


def _steps(weight: Tensor, codes: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """The codes, and what one unit of them has come to in each output of the folded weight, above zero and in
    MANTISSA_BITS, (O,). Where the batch norm's weight is negative the codes are negated, where it is 0 they are too."""
    q_OI, W_OI = codes.double().flatten(1), weight.double().flatten(1)
    energy_O = q_OI.square().sum(1)
    found_O = torch.where(energy_O > 0, (q_OI * W_OI).sum(1) / energy_O.clamp_min(1), step)
    sign_O = torch.sign(found_O).to(codes.dtype)
    mantissa_O, exponent_O = torch.frexp(torch.where(found_O == 0, step, found_O.abs()))
    step_O = torch.ldexp(torch.round(mantissa_O * 2**MANTISSA_BITS) / 2**MANTISSA_BITS, exponent_O)
    return codes * sign_O.reshape(-1, *(1,) * (codes.dim() - 1)), step_O


class _Learner:
    """One weight: the values that learn, and what the forward sees of them."""

    def __init__(self, layer: nn.Module, step: float) -> None:
        self._weight = layer.get_parameter("weight")
        self._mask = layer._buffers.get("weight_mask")
        self._latent = self._weight.detach().clone()
        rest = self._latent[self._latent != 0]
        size = float(rest.abs().mean()) if rest.numel() else 1.0
        self.step = max(step * size, float(self._latent.abs().max()) / LARGEST, 1e-12)
        self._pull = torch.zeros_like(self._latent)
        self.hook = self._weight.register_post_accumulate_grad_hook(self._restore)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _restore(self, weight: Tensor) -> None:
        """Behind the backward: the optimizer moves the values that learn."""
        weight.copy_(self._latent.to(weight.device))

    def codes(self) -> Tensor:
        """Integers of the weight's shape."""
        q = torch.round(self._latent / self.step).clamp(-LARGEST, LARGEST)
        return q if self._mask is None else q * self._mask.to(q.device)

    @torch.no_grad()
    def take_(self) -> None:
        """Behind the optimizer's step: what it made of the values."""
        self._latent = self._weight.detach().clone()

    @torch.no_grad()
    def show_(self) -> None:
        """What the next forward sees."""
        self._weight.copy_(self.codes() * self.step)

    def estimate_(self) -> None:
        """What one more unit of size costs each weight, in bits per step."""
        codes = self.codes().flatten(1)
        self._pull = slopes_of(codes, rates_of(codes)).reshape(self._latent.shape).to(self._latent)

    def shrink_(self, strength: float) -> None:
        """The proximal step."""
        less = self._latent.abs() - strength * self._pull
        self._latent = torch.sign(self._latent) * less.clamp_min(0)
