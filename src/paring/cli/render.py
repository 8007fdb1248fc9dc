"""Tables and progress on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from paring.cli.consoles import console as console
from paring.cli.consoles import errors as errors
from paring.cli.consoles import stdout_for_results
from paring.core.edit import Progress as Step
from paring.core.measurement import Measurement
from paring.report.results import Run, refused_lines, verdict_sentence
from paring.run import Told

LOG_EVERY_S = 5.0
REDRAW_S = 0.1
COLOURS = {"faster": "green", "slower": "red", "indistinguishable": "yellow", "baseline": "dim"}
T = TypeVar("T")


def follow(steps: Generator[Told, None, T], *, quiet: bool = False) -> T:
    """Consumes a stream of what is being done, showing it as one live line, and returns what it returns."""
    with closing(steps), line_of_progress(quiet) as show:
        while True:
            try:
                show(next(steps))
            except StopIteration as end:
                result: T = end.value
                return result


@contextmanager
def counting(subject: str, text: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A line that counts: call what it gives with (done, total)."""
    with line_of_progress(quiet) as show:
        show(Told(subject, Step(0, 0, text)))
        yield lambda done, total: show(Told(subject, Step(done, total, text)))


@contextmanager
def saying(subject: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A line that says what is being done: call what it gives with the words."""
    with line_of_progress(quiet) as show:
        yield lambda words: show(Told(subject, Step(0, 0, words)))


@contextmanager
def line_of_progress(quiet: bool) -> Iterator[Callable[[Told], None]]:
    """A line that tells what is being done: call what it gives with each `Told`. `quiet`, for results that programs
    read: no line, and nothing but results on stdout."""
    if quiet:
        with stdout_for_results():
            yield lambda told: None
        return
    if not errors.is_terminal:
        yield _Log()
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    # Drawn only when there is news: a thread that redraws would be timed along with the models.
    with Progress(*columns, console=errors, transient=True, auto_refresh=False) as progress:
        line = progress.add_task("starting", total=None)
        drawn = 0.0

        def show(told: Told) -> None:
            nonlocal drawn
            now = time.monotonic()
            progress.update(
                line,
                description=f"{told.subject}: {told.progress.text}",
                completed=told.progress.done,
                total=told.progress.total or None,
                refresh=now - drawn >= REDRAW_S,
            )
            drawn = now if now - drawn >= REDRAW_S else drawn

        yield show


class _Log:
    """A line now and then where there is no terminal to draw on."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()

    def __call__(self, told: Told) -> None:
        now = time.monotonic()
        if now - self.last >= LOG_EVERY_S:
            self.last = now
            share = f" ({told.progress.done}/{told.progress.total})" if told.progress.total else ""
            errors.print(f"{now - self.started:6.0f} s  {told.subject}: {told.progress.text}{share}", highlight=False)


def results_table(run: Run) -> Table:
    """Baseline and candidates: what each costs and gives."""
    table = Table(title=f"{run.task}: the exported files", title_justify="left", header_style="bold")
    table.add_column("candidate", overflow="fold")
    for heading in (run.baseline.metric_name, "drop", "bytes", "p50 ms", "per s", "ratio", "99 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for measured in run.rows:
        table.add_row(*_cells(measured), style="bold" if measured.name == run.chosen else "")
    return table


def _cells(measured: Measurement) -> Sequence[str]:
    shown = measured.headline or measured.quality
    colour = COLOURS[measured.verdict]
    outside = "" if measured.within_budget in (True, None) else " [red](outside budget)[/red]"
    return (
        measured.name + outside,
        f"{shown.metric:.4f}",
        f"{shown.drop:+.4f}",
        f"{measured.file_bytes:,}",
        f"{measured.latency_ms['p50']:.4f}",
        f"{measured.throughput_per_s:,.0f}",
        f"{measured.speedup.ratio:.2f}",
        f"{measured.speedup.low:.2f}-{measured.speedup.high:.2f}",
        str(measured.target),
        f"[{colour}]{measured.verdict}[/{colour}]",
    )


def print_run(run: Run, folder: object) -> None:
    """The table, the verdict, and where the files are."""
    console.print(results_table(run))
    for line in refused_lines(run):
        console.print(f"not run: {line}", style="yellow", markup=False)
    console.print(verdict_sentence(run))
    if run.last_round:
        slower = sum(one.slower for one in run.last_round)
        words = f"{len(run.last_round)} files that the clock could not tell apart were timed once more in turns"
        console.print(f"{words}: {slower} slower than the fastest, and of the rest the smallest file was chosen.")
    console.print(f"Files: {folder} (artifact/, results.json, report.html)", style="dim")
