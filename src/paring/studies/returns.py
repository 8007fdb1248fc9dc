"""Return on investment: a logged experiment replayed under the policy that each model would have followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from paring.numerics.off_policy import doubly_robust, inverse_propensity
from paring.numerics.resample import mean_draws, percentile_interval
from paring.numerics.ridge import ridge
from paring.studies.folds import Answers, Make
from paring.studies.logs import Experiment, Fold, Log
from paring.studies.sheets import Sheet

COST = 0.10  # of one mail, in the outcome's currency; the logs do not say
PENALTY = 100.0
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
COLUMNS = (
    ("name", "policy"), ("sent", "share sent something"), ("value_ips", "value a customer, IPS"),
    ("value", "value a customer, doubly robust"), ("roi", "return on a unit spent"),
    ("difference", "value less costs, against the teacher's"), ("verdict", "verdict"),
)  # fmt: skip
NOTE = (
    "The experiment drew every customer's arm by lot; a policy's value is what its arms would have earned a customer, "
    "by inverse propensity and doubly robust estimates over {n:,} customers whom the nets had not seen. A policy sends "
    "each customer the arm of largest foretold rate times what a conversion earned on the training rows, less "
    "{cost:.2f} for each thing sent; that cost is an assumption. Return: value beyond sending nobody anything, less "
    "costs, by costs. Intervals are 95 %, from draws of customers, the same for every policy; where the difference to "
    "the teacher's policy crosses 0 the two are indistinguishable."
)


@dataclass(frozen=True)
class Replay:
    """The log as estimates need it, n customers: what each got, what came of it, and what is foretold of each arm."""

    arms: Ints
    outcome: Floats
    foretold: Floats
    worth: Floats
    propensity: Floats
    nothing: int


def replay_of(log: Log, answers: Answers, fold_of: Make) -> Replay:
    """From the folds' own rows; each arm's outcome is foretold by a ridge regression on the fold's training rows."""
    experiment = log.experiment
    assert experiment is not None
    foretold, worth = [], []
    for seed in dict.fromkeys(answers.fold.tolist()):
        fold = fold_of(seed)
        spent = fold.table.targets[experiment.outcome][fold.train].double()
        count = fold.table.targets[log.label][fold.train].double().sum()
        foretold.append(_foretold(fold, experiment))
        worth.append(np.full(len(fold.test), float(spent.sum() / count)))
    table = fold.table
    column = table.categories[:, table.category_names.index(experiment.column)].numpy()
    shares = np.bincount(column, minlength=len(experiment.arms)) / len(column)
    outcome = table.targets[experiment.outcome].double().numpy()
    return Replay(
        column[answers.rows], outcome[answers.rows], np.concatenate(foretold), np.concatenate(worth), shares,
        experiment.nothing,
    )  # fmt: skip


def policy_of(log_rates_NA: Floats, replay: Replay) -> Ints:
    """The arm (n,) of largest expected worth, less what sending costs."""
    cost = np.full(log_rates_NA.shape[1], COST)
    cost[replay.nothing] = 0
    best: Ints = np.argmax(np.exp(log_rates_NA) * replay.worth[:, None] - cost, 1)
    return best


def returns_sheet(part: str, log: Log, answers: Answers, replay: Replay, names: Sequence[str], seed: int = 0) -> Sheet:
    """One line a policy: nobody, everybody the same, then each model of `names`, the first of which is the teacher."""
    assert log.experiment is not None
    n, arms = len(replay.arms), log.experiment.arms
    fixed = {f"everybody: {arm}": np.full(n, place) for place, arm in enumerate(arms) if place != replay.nothing}
    policies = {"nobody": np.full(n, replay.nothing), **fixed}
    policies |= {name: policy_of(answers.arms[name], replay) for name in names}
    place = {name: number for number, name in enumerate(policies)}
    robust = [_terms(doubly_robust, policy, replay) for policy in policies.values()]
    plain = [_terms(inverse_propensity, policy, replay) for policy in policies.values()]
    terms, size = np.stack([*robust, *plain], 1), len(policies)
    means, draws = terms.mean(0)[None], mean_draws(terms, seed=seed)
    teacher, shares = place[names[0]], [float((one != replay.nothing).mean()) for one in policies.values()]

    def both(figure: Callable[[Floats], Floats]) -> list[float]:
        return [float(figure(means)[0]), *percentile_interval(figure(draws))]

    def line(name: str, mine: int) -> dict[str, Any]:
        sent = shares[mine]
        spent, more = COST * sent, COST * (sent - shares[teacher])
        difference = None if mine == teacher else both(lambda m: m[:, mine] - m[:, teacher] - more)
        return {
            "name": name,
            "sent": sent,
            "value_ips": both(lambda m: m[:, size + mine]),
            "value": both(lambda m: m[:, mine]),
            "roi": both(lambda m: (m[:, mine] - m[:, 0] - spent) / spent) if sent else None,
            "difference": difference,
            "verdict": "" if difference is None else verdict(difference),
        }

    rows = [line(name, mine) for name, mine in place.items()]
    note = NOTE.format(n=n, cost=COST)
    return Sheet(f"{part} returns", f"{part}: return on investment", note, COLUMNS, tuple(rows), "roi_results")


def verdict(difference: Sequence[float]) -> str:
    """Of (figure, low, high): an interval that holds 0 shows nothing."""
    _, low, high = difference
    return "indistinguishable" if low <= 0 <= high else "better" if low > 0 else "worse"


def _terms(estimate: Any, policy: Ints, replay: Replay) -> Floats:
    more = (replay.foretold,) if estimate is doubly_robust else ()
    terms: Floats = estimate(replay.outcome, replay.arms, policy, replay.propensity, *more)
    return terms


def _foretold(fold: Fold, experiment: Experiment) -> Floats:
    """(n, arms): the outcome of each test row under each arm, by one ridge regression an arm on the training rows."""
    place = fold.table.category_names.index(experiment.column)
    outcome = fold.table.targets[experiment.outcome].double().numpy()[fold.train.numpy()]
    got = fold.table.categories[fold.train, place].numpy()
    train, test = (_features(fold, rows, place) for rows in (fold.train, fold.test))
    guesses = []
    for arm in range(len(experiment.arms)):
        mine = got == arm
        mean = outcome[mine].mean() if mine.any() else 0.0
        guesses.append(mean + test @ ridge(train[mine], outcome[mine] - mean, PENALTY))
    return np.stack(guesses, 1)


def _features(fold: Fold, rows: torch.Tensor, left_out: int) -> Floats:
    categories, numbers = fold.inputs(rows)
    ones = [
        F.one_hot(categories[:, place], size).double()
        for place, size in enumerate(fold.table.sizes)
        if place != left_out
    ]
    found: Floats = torch.cat([*ones, numbers.double()], 1).numpy()
    return found
