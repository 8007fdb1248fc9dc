"""What every file of a conversion study answers on rows that it never learned from, fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from paring.artifacts.onnx import write_onnx
from paring.candidates import compress_steps, rebuild
from paring.core.atomic import whole_file
from paring.core.edit import Progress
from paring.core.recipe import Recipe
from paring.core.stream import told
from paring.core.target import Target
from paring.data.batches import batches
from paring.engines import open_session
from paring.measure.quality import file_outputs
from paring.studies.logs import Experiment, Fold, Log, calibrated
from paring.studies.study import Judgement
from paring.studies.teachers import trained
from paring.train import Training

ROWS = 4096
Floats = NDArray[np.float64]
Make = Callable[[int], Fold]


@dataclass(frozen=True)
class Answers:
    """Rows of all folds one after the other, n of them.

    `outputs` holds by row name the log rates (n,); `arms` the same under every arm of the experiment (n, arms).
    `constant` is the log rate of the fold's training rows, `train` by fold the rows it was trained on.
    """

    rows: NDArray[np.int64]
    fold: NDArray[np.int64]
    target: Floats
    constant: Floats
    outputs: Mapping[str, Floats]
    arms: Mapping[str, Floats]


def out_of_fold(
    log: Log, judgement: Judgement, fold_of: Make, training: Training, seeds: int
) -> Generator[Progress, None, Answers]:
    """Fold 0 from the judged files; the others trained, compressed and exported here.

    Each fold's answers are kept in the part's folder.
    """
    recipes, parts = judgement.by_name(), []
    for seed in range(seeds):
        path = judgement.folder.path / "folds" / f"{seed}.npz"
        if not path.is_file():
            fold = fold_of(seed)
            if seed == 0:
                found = _answers(log, fold, judgement.files)
            else:
                found = yield from _anew(log, fold, recipes, training, f"fold {seed}")
            _save(path, found)
        yield Progress(seed + 1, seeds, "folds")
        with np.load(path) as said:
            parts.append({name: said[name] for name in said.files})
    both = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    numbers = np.concatenate([np.full(len(part["rows"]), seed) for seed, part in enumerate(parts)])
    return Answers(
        both["rows"],
        numbers,
        both["target"],
        both["constant"],
        {name: both[f"outputs {name}"] for name in recipes},
        {name: both[f"arms {name}"] for name in recipes if f"arms {name}" in both},
    )


def _anew(
    log: Log, fold: Fold, recipes: Mapping[str, Recipe], training: Training, words: str
) -> Generator[Progress, None, dict[str, Any]]:
    task = calibrated((yield from trained(fold.task, training)))
    with TemporaryDirectory() as folder:
        files = {}
        for place, (name, recipe) in enumerate(recipes.items()):
            candidate = yield from told(
                compress_steps(task, recipe),
                lambda step, name=name: Progress(0, 0, f"{words}: {name}"),  # type: ignore[misc]
            )
            files[name] = Path(folder) / f"{place}.onnx"
            write_onnx(rebuild(candidate, task), task, files[name])
        return _answers(log, replace(fold, task=task), files)


def _answers(log: Log, fold: Fold, files: Mapping[str, Path]) -> dict[str, Any]:
    """One fold's arrays under the names that `out_of_fold` reads."""
    target = fold.table.targets[log.label][fold.test]
    found: dict[str, Any] = {
        "rows": fold.test.numpy(),
        "target": target.double().numpy(),
        "constant": np.full(len(fold.test), np.log(fold.rate)),
    }
    for name, path in files.items():
        session = open_session(path, Target("onnxruntime"))
        categories, numbers = fold.inputs(fold.test)

        def ask(columns: torch.Tensor, session: Any = session, numbers: torch.Tensor = numbers) -> Floats:
            data = batches((columns, numbers), target, ROWS)
            return file_outputs(session, data)[0].double().reshape(-1).numpy()

        found[f"outputs {name}"] = ask(categories)
        if log.experiment is not None:
            asked = [ask(columns) for columns in under_every_arm(categories, fold, log.experiment)]
            found[f"arms {name}"] = np.stack(asked, 1)
    return found


def under_every_arm(categories: torch.Tensor, fold: Fold, experiment: Experiment) -> list[torch.Tensor]:
    """The same customers as if each had got the first arm, the second, ..."""
    place = fold.table.category_names.index(experiment.column)
    made = []
    for arm in range(len(experiment.arms)):
        columns = categories.clone()
        columns[:, place] = arm
        made.append(columns)
    return made


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    with whole_file(path) as file:
        np.savez(file, **arrays)
