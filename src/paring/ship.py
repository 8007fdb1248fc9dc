"""From a candidate to a folder that ships, without a run folder."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from paring.artifacts.artifact import Artifact, write_artifact
from paring.candidates import compress
from paring.core.candidate import Candidate
from paring.core.recipe import Recipe
from paring.core.stream import drain
from paring.core.task import Task
from paring.judge.bench import Bench
from paring.judge.judge import headline, judge
from paring.judge.record import Judged
from paring.recipe_io import to_yaml
from paring.report.results import row
from paring.store import whole_folder


def export(candidate: Candidate, task: Task, folder: str | Path, bench: Bench = Bench()) -> Artifact:  # noqa: B008
    """Writes the candidate's file into `folder` with its manifest, after measuring that very file against the baseline.

    The drop is on `test`, taken once; latency is interleaved with the baseline's own file.
    Raises: ParityError if the file does not compute what the model computes; RunFolderError if it cannot be written.
    """
    with TemporaryDirectory() as workshop:
        baseline = _judged(compress(task, Recipe((), "baseline")), task, Path(workshop) / "baseline", bench, None)
        chosen = _judged(candidate, task, Path(workshop) / "candidate", bench, baseline)
        measured = headline(chosen, baseline, task)
        with whole_folder(Path(folder)) as partial:
            write_artifact(candidate, to_yaml(candidate.recipe), chosen.folder, partial, row(measured))
    return Artifact(Path(folder))


def _judged(candidate: Candidate, task: Task, folder: Path, bench: Bench, baseline: Judged | None) -> Judged:
    folder.mkdir()
    return Judged(candidate, folder, drain(judge(candidate, task, folder, bench, baseline)))
