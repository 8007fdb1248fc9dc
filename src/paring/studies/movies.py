"""The movies study: an ensemble that wins a prize against one student that can be served."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from paring.core.edit import Progress
from paring.core.recipe import Recipe
from paring.core.task import Task
from paring.data.batches import batches
from paring.data.movielens import Ratings, made_ratings, movielens
from paring.distill.response import Response
from paring.errors import TaskError
from paring.finetune import Finetune
from paring.measure.metrics import rmse
from paring.numerics.ridge import ridge
from paring.quantize.embedding import Embedding
from paring.student.use import Use
from paring.studies.movies_look import claims, gains
from paring.studies.raters import (
    AlikeMovies,
    AlikeUsers,
    Biases,
    DotNet,
    Ensemble,
    Factors,
    Neural,
    closest,
    left_over,
)
from paring.studies.study import Part, Study
from paring.studies.teachers import trained
from paring.train import Training

ABOUT = (
    "An ensemble of matrix factorizations, deep nets and neighbourhoods, blended on validation and exported as one "
    "file, against one distilled, quantized student: one table and one product. What a student keeps is its gain in "
    "RMSE over user and item biases, as a share of the ensemble's. Distilled on *any pair*, it is asked about films "
    "that its users never rated: the ensemble knows an answer, which no log does. *Solved for*, it is the product "
    "nearest to all the ensemble's answers, by a weighted singular value decomposition, without a step of training."
)
MADE_UP = " MovieLens was not found, so ratings drawn here stand in. Give --data with its folder."
PENALTY = 1.0  # of the blend's weights, in ratings


@dataclass(frozen=True)
class Size:
    """How large the ensemble is, how long its members and the student train, and on how many pairs."""

    factors: tuple[int, ...]
    num_neural: int
    alike: tuple[int, ...]
    epochs: int
    student_epochs: int
    student_dim: int
    num_pairs: int


FULL = Size((16, 24, 32, 48), 2, (50, 150), 12, 12, 48, 600_000)
QUICK = Size((16, 32), 1, (50,), 6, 6, 32, 150_000)


def movies_study(data: str | Path | None = None, *, quick: bool = False, seed: int = 0) -> Study:
    """The study on MovieLens latest-small, or on ratings drawn here where it is nowhere."""
    ratings, name, size = *_ratings(data), QUICK if quick else FULL
    ready = partial(_ready, ratings, name, size, seed)
    count = len(size.factors) + size.num_neural + len(size.alike) + 1
    names = {"baseline": f"ensemble of {count}"}
    alone = Finetune(size.student_epochs, 3e-3, weight_decay=0.1, early_stop=2)
    taught = Finetune(size.student_epochs, 5e-3, Response(kind="mse", alpha=1.0))
    small = Use("student")
    rated = (
        Recipe((Use("biases"),), "user and item biases"),
        Recipe((small, alone), "student alone"),
        Recipe((small, replace(taught, early_stop=2)), "student distilled on the ratings"),
    )
    solved = Use("solved")
    any_pair = (
        Recipe((small, taught), "student distilled"),
        Recipe((solved,), "student solved for"),
        Recipe((solved, Embedding()), "student solved for, int8"),
    )
    look = partial(gains, count)
    return Study(
        "movies",
        "An ensemble of raters, and one student",
        ABOUT + (MADE_UP if name == "made-up" else ""),
        (
            Part("ratings", partial(ready, False), rated, names, {"gains": look}),
            Part("any pair", partial(ready, True), any_pair, names, {"gains": look}),
        ),
        claims(),
    )


def _ratings(data: str | Path | None) -> tuple[Ratings, str]:
    try:
        return movielens(data), "movielens"
    except TaskError:
        if data is not None:
            raise
        return made_ratings(), "made-up"


@dataclass(frozen=True)
class Parts:
    """The ratings in three, by lot: eight tenths to learn from, one to choose by, one to report on."""

    train: Ratings
    validation: Ratings
    test: Ratings


def split(ratings: Ratings, seed: int) -> Parts:
    """The three parts."""
    order = torch.randperm(len(ratings), generator=torch.Generator().manual_seed(seed))
    tenth = len(order) // 10
    return Parts(ratings.rows(order[2 * tenth :]), ratings.rows(order[tenth : 2 * tenth]), ratings.rows(order[:tenth]))


def _ready(ratings: Ratings, name: str, size: Size, seed: int, any_pair: bool) -> Generator[Progress, None, Task]:
    """The task with its ensemble; to train on, the ratings, or pairs drawn as the ratings are."""
    parts = split(ratings, seed)
    start = Biases(parts.train)
    task = rating_task(name, start, parts, seed, size)
    members: list[nn.Module] = []
    for number in range(len(size.factors) + size.num_neural):
        deep = number >= len(size.factors)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1_000 * seed + number)
            taken = members[number - len(size.factors)] if deep else None
            net = Neural(start, taken) if isinstance(taken, Factors) else Factors(start, size.factors[number])
        rate, decay = (1e-3, 0.1) if deep else (5e-3, 1.0)
        training = Training(epochs=size.epochs, learning_rate=rate, weight_decay=decay, early_stop=2)
        task_of = replace(task, name=f"{name}-member-{number}", model=net, seed=seed + number)
        members.append((yield from trained(task_of, training)).model)
    residual = left_over(start, parts.train)
    for count in size.alike:
        yield Progress(0, 1, f"who resembles whom, {count} films")
        members.append(AlikeMovies(start, residual, count, shrink=30.0))
    members.append(AlikeUsers(start, residual, shrink=40.0))
    ensemble = blended(members, parts.validation).eval()
    solved = cache(partial(closest, ensemble, start, parts.train, size.student_dim))
    students = {**task.students, "solved": lambda: copy.deepcopy(solved())}
    task = replace(task, model=ensemble, students=students)
    return replace(task, train=_pairs(parts.train, size.num_pairs, seed)) if any_pair else task


def rating_task(name: str, start: Biases, parts: Parts, seed: int, size: Size) -> Task:
    """The task before its ensemble is there: the model is the biases alone."""

    def of(part: Ratings, **how: Any) -> Any:
        return batches((part.users, part.movies), part.stars, **how)

    return Task(
        name=name,
        model=start,
        example_inputs=(parts.train.users[:2], parts.train.movies[:2]),
        train=of(parts.train, batch_size=256, shuffle=True),
        calibration=of(parts.train.rows(torch.arange(min(2048, len(parts.train)))), batch_size=512),
        validation=of(parts.validation, batch_size=2048),
        test=of(parts.test, batch_size=2048),
        loss=F.mse_loss,
        metric=rmse,
        students={"biases": lambda: start, "student": partial(DotNet, start, size.student_dim)},
        seed=seed,
    )


@torch.no_grad()
def blended(members: Sequence[nn.Module], validation: Ratings) -> Ensemble:
    """The members weighted by ridge regression on validation."""
    answers = torch.stack([one.eval()(validation.users, validation.movies) for one in members], 1).double()
    mean, target = answers.mean(0), validation.stars.double()
    weights = ridge((answers - mean).numpy(), (target - target.mean()).numpy(), PENALTY)
    constant = float(target.mean() - (mean * torch.from_numpy(weights)).sum())
    return Ensemble(members, torch.from_numpy(weights), constant)


def _pairs(ratings: Ratings, count: int, seed: int) -> Any:
    """Users and films drawn each as often as they occur in the ratings; the stars are nobody's: NaN."""
    draw = torch.Generator().manual_seed(seed)
    sides = ratings.users, ratings.movies
    users, movies = (side[torch.randint(0, len(side), (count,), generator=draw)] for side in sides)
    users, movies = torch.cat([users, ratings.users]), torch.cat([movies, ratings.movies])
    return batches((users, movies), torch.full((len(users),), torch.nan), 1024, shuffle=True)
