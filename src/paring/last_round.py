"""The answer among candidates that the clock could not tell apart: their files timed once more, in turns.

Each was timed beside the baseline in minutes of its own, and one minute of a machine differs from another by more than
such files do from each other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from paring.choice import winner
from paring.core.atomic import write_atomically
from paring.core.edit import Progress
from paring.core.measurement import Measurement, Standing
from paring.core.task import Task
from paring.errors import BudgetError
from paring.judge.bench import Bench, timed_inputs
from paring.judge.judge import timed_runner
from paring.judge.record import Judged
from paring.measure.latency import compare, noise_floor, verdict
from paring.measure.lives import interleave_anew

KEPT = "last_round.json"
MOST = 8  # files in a round
AGAIN = "again"


@dataclass(frozen=True)
class Answer:
    """The candidate that was chosen and the round that chose it, where there was one; or why there is none."""

    chosen: Judged | None = None
    standings: tuple[Standing, ...] = ()
    miss: BudgetError | None = None


@dataclass(frozen=True)
class _Kept:
    """A round as it lies on disk: of which candidates, by hash and median milliseconds at their first timing."""

    rivals: tuple[tuple[str, float], ...]
    standings: tuple[Standing, ...]


def answer(
    rivals: Callable[[], Sequence[Measurement]],
    judged: Callable[[Measurement], Judged],
    task: Task,
    bench: Bench,
    folder: Path,
) -> Generator[Progress, None, Answer]:
    """The one of `rivals`, fastest first, that ships; a BudgetError that they raise is an answer too.

    `judged` finds the candidate of a measurement.

    Two or more are timed in turns: of more than MOST, the fastest and the smallest. A round of the same candidates and
    timings that lies in `folder` is taken as it is.
    """
    try:
        found = [judged(one) for one in _most(rivals())]
    except BudgetError as error:
        return Answer(miss=error)
    if len(found) == 1:
        (folder / KEPT).unlink(missing_ok=True)
        return Answer(found[0])
    among = tuple((one.folder.name, one.measurement.latency_ms["p50"]) for one in found)
    kept = _read(folder / KEPT)
    if kept is not None and kept.rivals == among:
        standings = tuple(
            replace(past, name=one.measurement.name) for past, one in zip(kept.standings, found, strict=True)
        )
    else:
        yield Progress(0, 1, f"{len(found)} files that the clock could not tell apart, timed in turns")
        standings = _standings(found, task, bench)
        write_atomically(folder / KEPT, TypeAdapter(_Kept).dump_json(_Kept(among, standings), indent=1))
    return Answer(found[standings.index(winner(standings))], standings)


def _most(rivals: Sequence[Measurement]) -> list[Measurement]:
    if len(rivals) <= MOST:
        return list(rivals)
    smallest = min(rivals[MOST - 1 :], key=lambda one: one.file_bytes)
    return [*rivals[: MOST - 1], smallest]


def _standings(rivals: Sequence[Judged], task: Task, bench: Bench) -> tuple[Standing, ...]:
    example = timed_inputs(task, bench.batch_size)
    openers = {
        str(place): partial(timed_runner, one.model, one.measurement.target, example)
        for place, one in enumerate(rivals)
    }
    timed = openers | {AGAIN: openers["0"]}
    samples = interleave_anew(timed, blocks=bench.blocks, min_block_ms=bench.min_block_ms, threads=bench.threads)
    floor = noise_floor(samples, "0", AGAIN)
    ms = {place: samples.latency_ms(place)["p50"] for place in openers}
    fastest = max(openers, key=lambda place: compare(samples, "0", place).ratio)  # block by block, as they are compared
    return tuple(
        Standing(
            name=one.measurement.name,
            file_bytes=one.measurement.file_bytes,
            ms=ms[place],
            ratio=compare(samples, fastest, place),
            slower=verdict(samples, fastest, place, floor) == "slower",
        )
        for place, one in zip(openers, rivals, strict=True)
    )


def _read(path: Path) -> _Kept | None:
    try:
        return TypeAdapter(_Kept).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
