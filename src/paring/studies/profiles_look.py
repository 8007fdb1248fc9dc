"""A look at where the time goes: operators of the teacher in PyTorch, of its file, and of the rows that matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from typing import Any

from paring.core.edit import Progress
from paring.engines import open_session
from paring.judge.bench import timed_inputs
from paring.measure.profile import Profile, profile_file
from paring.measure.profile_eager import profile_eager
from paring.measure.quality import file_inputs
from paring.studies.sheets import Looked, Sheet
from paring.studies.study import Judgement

MOST = 6  # kinds of operators told by name; the others are one line
COLUMNS = (
    ("name", "row"), ("on", "on"), ("kind", "operators"), ("count", "how many"), ("ms", "ms a call"),
    ("share", "share, %"),
)  # fmt: skip
NOTE = (
    "Mean over the profiler's calls, which slow a call a little: shares are to be read, not milliseconds. A row is "
    "profiled where it is fastest; `how many` counts operators after the engine has fused them, in PyTorch its calls."
)


def profiles(names: tuple[str, ...], judgement: Judgement) -> Generator[Progress, None, Looked]:
    """Operators by kind, before (PyTorch, and the baseline's file) and after (the rows `names`)."""
    task = judgement.task
    inputs = timed_inputs(task, 1)
    total = 2 + len(names)
    yield Progress(0, total, "profile of the model in PyTorch")
    rows = _lines("in PyTorch", profile_eager(task, task.model, inputs))
    base = next(iter(judgement.measured))
    for place, name in enumerate((base, *names), start=1):
        yield Progress(place, total, f"profile of {name}")
        path, target = judgement.files[name], judgement.measured[name].target
        rows += _lines(name, profile_file(path, target, file_inputs(open_session(path, target), inputs)))
    part = judgement.folder.path.name.replace("-", " ")
    return Looked((Sheet(f"{part} operators", f"{part}: operators before and after", NOTE, COLUMNS, tuple(rows)),))


def _lines(name: str, seen: Profile) -> list[dict[str, Any]]:
    spent: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for op in seen.ops:
        spent[op.kind] += op.ms
        count[op.kind] += 1
    whole = sum(spent.values()) or 1.0
    kinds = sorted(spent, key=lambda kind: -spent[kind])
    lines = [(kind, count[kind], spent[kind]) for kind in kinds[:MOST]]
    if rest := kinds[MOST:]:
        lines.append(("all others", sum(count[kind] for kind in rest), sum(spent[kind] for kind in rest)))
    return [
        {"name": name, "on": f"{seen.target.engine} {seen.target.precision}", "kind": kind, "count": number, "ms": ms,
         "share": 100 * ms / whole}
        for kind, number, ms in lines
    ]  # fmt: skip
