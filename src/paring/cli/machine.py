"""`paring machine`: what this machine can do at best."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from paring.cli.options import AsJson

if TYPE_CHECKING:
    from paring.measure.peaks import Peaks


def machine(
    threads: Annotated[list[int], typer.Option("--threads", min=1, help="Threads; repeatable.")] = [1],  # noqa: B006
    again: Annotated[bool, typer.Option("--again", help="Measure anew; the best ever seen is kept.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measures this machine's peaks once (some 10 s), keeps them, and shows them with what to mind."""
    from paring.cli.render import console, saying
    from paring.engines import machine as describe
    from paring.measure.peaks import keep_peaks, known_peaks, measure_peaks, peaks_file

    found = []
    for count in threads:
        known = None if again else known_peaks(count)
        if known is None:
            with saying("measuring", quiet=as_json) as say:
                known = keep_peaks(measure_peaks(count, report=say))
        found.append(known)
    about = describe()
    lines = advices()
    if as_json:
        peaks = [asdict(one) | {"file": str(peaks_file(one.threads))} for one in found]
        console.print_json(json.dumps({"machine": about, "advice": lines, "peaks": peaks}))
        return
    console.print(
        f"{about['cpu']}, {about['usable_cores']} of {about['cores']} cores usable; {' '.join(about['flags'])}"
    )
    for one in found:
        console.print(_table(one))
        console.print(f"kept in {peaks_file(one.threads)}", style="dim")
    for line in lines:
        console.print(f"- {line}", soft_wrap=True, highlight=False)


def advices() -> list[str]:
    """What to mind on this machine."""
    from paring.engines import cpu_flags, has_vnni
    from paring.engines import machine as describe
    from paring.engines.advice import advice

    about: dict[str, Any] = describe()
    return list(advice(cpu_flags(), vnni=has_vnni(), cores=about["cores"], usable=about["usable_cores"]))


def _table(peaks: Peaks) -> Table:
    table = Table(
        "peak", "value", "seen in", title=f"{peaks.threads} thread(s)", title_justify="left", header_style="bold"
    )
    for kind in ("fp32", "bf16", "int8"):
        rate = peaks.macs_per_s.get(kind)
        value = (
            "no instructions here"
            if rate is None
            else f"{2 * rate / 1e9:,.0f} {'GOP' if kind == 'int8' else 'GFLOP'}/s"
        )
        table.add_row(f"{kind} products", value, peaks.kernels.get(kind, ""))
    for level in peaks.levels:
        size = "" if not level.size_bytes else f" ({level.size_bytes // 1024:,} KiB)"
        table.add_row(f"reads from {level.name}{size}", f"{level.bytes_per_s / 1e9:,.0f} GB/s", "dot product")
    for engine, seconds in peaks.overhead_s.items():
        table.add_row(f"a call into {engine}", f"{seconds * 1e6:,.1f} us", "one ReLU")
    return table
