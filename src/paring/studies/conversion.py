"""The conversion study: a model that predicts conversions made small and quick, and what that costs in money."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from paring.core.edit import Progress
from paring.core.recipe import Recipe
from paring.core.task import Task
from paring.data.files import data_folders
from paring.distill.features import Features
from paring.distill.response import Response
from paring.distill.weighted import Weighted
from paring.errors import SettingError, UnknownNameError
from paring.finetune import Finetune
from paring.prune.channels import Channels
from paring.quantize.static import Static
from paring.student.use import Use
from paring.studies.conversion_claims import charts, claims
from paring.studies.folds import out_of_fold
from paring.studies.logs import FOLDS, LOGS, STAND_IN, Fold, Log, calibrated, csv_log, log_fold
from paring.studies.nets import LeanConversionNet, WideDeepNet
from paring.studies.rates import rate_figures, rate_sheet
from paring.studies.returns import replay_of, returns_sheet
from paring.studies.serving_costs import EAGER, compute_rows, compute_sheet, server_sheet
from paring.studies.sheets import Looked
from paring.studies.study import Judgement, Part, Study
from paring.studies.teachers import trained
from paring.train import Training

TEACHER, ALONE, DISTILLED, BOTH = "teacher", "student alone", "student distilled", "student distilled, int8"
TWINS = {
    BOTH: DISTILLED,
    "teacher, int8": TEACHER,
    "teacher pruned, int8": "teacher pruned",
    "student distilled, pruned, int8": "student distilled, pruned",
}
SERVER_MS = {True: 2_000, False: 5_000}  # of a quick run, of a full one
QUICK = ("online-shoppers", "hillstrom")
ABOUT = (
    "A wide-and-deep teacher (a table a column, 512-256, Poisson log loss), stopped where validation says and its "
    "predicted total set by validation too; a student of one table and 48-24, alone "
    "and distilled by answers and by what the teacher sees inside; integers after training; channels pruned; all of it "
    "together. Latency is that of one prediction."
)
MADE_UP = " The public logs were not found, so a made-up one stands in, drawn here. Give --data with their folder."


def conversion_study(
    data: str | Path | None = None,
    *,
    quick: bool = False,
    seeds: int | None = None,
    logs: Sequence[str] = (),
    csv: Path | None = None,
    schema: Path | None = None,
) -> Study:
    """The study over the logs named, or over one CSV. `seeds` folds of five are trained and tested (5; quick: 1).

    Raises: UnknownNameError for another log; SettingError for folds beyond five, or a CSV without its schema.
    """
    num_folds = (1 if quick else FOLDS) if seeds is None else seeds
    if not 1 <= num_folds <= FOLDS:
        raise SettingError(f"--seeds is {num_folds}; each is one of the {FOLDS} folds, so give 1 to {FOLDS}.")
    if (csv is None) != (schema is None):
        raise SettingError("--csv and --schema go together: the file, and the YAML that says what its columns are.")
    folder = None if data is None else Path(data)
    if csv is not None and schema is not None:
        chosen: tuple[Log, ...] = (csv_log(csv, schema),)
    else:
        chosen = _logs(logs or (QUICK if quick else tuple(LOGS)), folder, named=bool(logs))
    parts = tuple(_part(log, folder, num_folds, quick) for log in chosen)
    about = ABOUT + (MADE_UP if chosen == (STAND_IN,) else "")
    names = [log.name for log in chosen]
    return Study("conversion", "Predicting conversions, compressed", about, parts, claims(names), charts)


def _logs(names: Sequence[str], data: Path | None, named: bool) -> tuple[Log, ...]:
    """The logs by name; the made-up one where none was named and none is there."""
    for name in names:
        if name not in LOGS:
            raise UnknownNameError("log", name, LOGS, "--log")
    found = tuple(LOGS[name] for name in dict.fromkeys(names))
    there = any((folder / log.name).is_dir() for log in found for folder in data_folders(data))
    return (STAND_IN,) if not (there or named or data is not None) else found


def _part(log: Log, data: Path | None, num_folds: int, quick: bool) -> Part:
    training = Training(log.teacher_epochs, 1e-3, 1e-2, warmup=0.05, early_stop=2)

    @cache
    def fold_of(seed: int) -> Fold:
        return log_fold(log, log.load(data), seed, WideDeepNet, LeanConversionNet)

    def prepared() -> Generator[Progress, None, Task]:
        return calibrated((yield from trained(fold_of(0).task, training)))

    def compute(judgement: Judgement) -> Generator[Progress, None, Looked]:
        yield Progress(0, 1, "compute")
        rows = compute_rows(judgement)
        eager = next((row["p50"] for row in rows if row["name"] == EAGER), None)
        return Looked((compute_sheet(log.name, rows),), {row["name"]: {"eager_p50_ms": eager} for row in rows})

    def server(judgement: Judgement) -> Generator[Progress, None, Looked]:
        names = (TEACHER, DISTILLED, BOTH)
        return Looked(((yield from server_sheet(log.name, judgement, names, SERVER_MS[quick])),))

    def rates(judgement: Judgement) -> Generator[Progress, None, Looked]:
        answers = yield from out_of_fold(log, judgement, fold_of, training, num_folds)
        figures = rate_figures(answers.target, answers.constant, answers.outputs, TWINS)
        folds = (
            f"{num_folds} of {FOLDS} folds" if num_folds < FOLDS else f"all {FOLDS} folds, each net tested on its own"
        )
        sheets = [rate_sheet(log.name, figures, len(answers.target), folds)]
        if log.experiment is not None:
            replay = replay_of(log, answers, fold_of)
            sheets.append(returns_sheet(log.name, log, answers, replay, (TEACHER, ALONE, DISTILLED, BOTH)))
        return Looked(tuple(sheets), {name: {"rates": one} for name, one in figures.items()})

    looks = {f"rates {num_folds} folds": rates, "compute": compute, "server": server}
    return Part(log.name, prepared, recipes(log.epochs, quick), {"baseline": TEACHER}, looks)


def recipes(epochs: int, quick: bool = False) -> tuple[Recipe, ...]:
    """One a row."""
    poisson = Response(kind="poisson", alpha=0.9)
    inside = Weighted((poisson, Features((("body.3", "body.4"),))), (1.0, 0.05))
    alone = Finetune(epochs, 3e-3, weight_decay=1e-2, warmup=0.05)
    taught, recovery = (
        replace(alone, objective=poisson),
        Finetune(max(2, epochs // 3), 1e-3, poisson, weight_decay=1e-2),
    )
    small, cut = Use("small"), Channels(pruning_ratio=0.75)
    rows = [
        Recipe((small, alone), ALONE),
        Recipe((small, taught), DISTILLED),
        Recipe((small, replace(alone, objective=inside)), "student distilled inside too"),
        Recipe((Static(),), "teacher, int8"),
        Recipe((cut, recovery), "teacher pruned"),
        Recipe((small, taught, Static()), BOTH),
    ]
    if not quick:
        half = Channels(pruning_ratio=0.5)
        rows += [
            Recipe((cut, recovery, Static()), "teacher pruned, int8"),
            Recipe((small, taught, half, recovery), "student distilled, pruned"),
            Recipe((small, taught, half, recovery, Static()), "student distilled, pruned, int8"),
        ]
    return tuple(rows)
