"""Where the next trial's settings come from. The one file that knows Optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paring.errors import MissingError
from paring.search.draws import Choices


@dataclass(frozen=True)
class Drawing:
    """One trial's settings while they are drawn."""

    trial: Any

    def choose(self, name: str, among: Sequence[Any]) -> Any:
        """One of `among`, by what earlier trials say."""
        return self.trial.suggest_categorical(_key(name, among), list(among))


class Sampler:
    """Tree-structured Parzen estimators over what was drawn before; the same seed and history give the same draws.

    Reference: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization; library Optuna.
    """

    def __init__(self, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingError("paring search: Optuna is not installed. Run: pip install 'paring[search]'") from None

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=6))

    def past(self, drawn: Mapping[str, tuple[Any, Choices]], value: float) -> None:
        """A trial of before: name -> (what was drawn, among what), and how good it was (less is better)."""
        distributions: dict[str, Any] = {
            _key(name, among): self._optuna.distributions.CategoricalDistribution(among)
            for name, (_, among) in drawn.items()
        }
        params = {_key(name, among): chosen for name, (chosen, among) in drawn.items()}
        self._study.add_trial(self._optuna.trial.create_trial(params=params, distributions=distributions, value=value))

    def ask(self) -> Drawing:
        """A new trial to draw from."""
        return Drawing(self._study.ask())

    def tell(self, drawing: Drawing, value: float) -> None:
        """How good it was (less is better)."""
        self._study.tell(drawing.trial, value)


def _key(name: str, among: Sequence[Any]) -> str:
    """Optuna wants the same choices under the same name, and the space may differ from run to run."""
    return f"{name} of {', '.join(map(str, among))}"
