"""The page of one study's full run, from its committed results."""

from __future__ import annotations

from typing import Any

from paring.studies.pages import Page, study_markdown
from paring.studies.sheets import Sheet

SHARED = (
    "Files were timed while other work ran on the machine: ratios come from interleaved pairs and hold, p99 and "
    "milliseconds are larger than on a quiet one."
)
QUIET = "Nothing else ran while files were timed."
NOT_SHOWN = ("epochs",)  # too long for the page; in the JSON


def page(said: dict[str, Any]) -> str:
    """Markdown."""
    sheets = tuple(
        Sheet(name, one["title"], one["note"], tuple(map(tuple, one["columns"])), tuple(said["sheets"][name]))
        for name, one in said["columns"].items()
        if not name.endswith(NOT_SHOWN)
    )
    body = study_markdown(Page(said["title"], said["about"], said["rows"], said["claims"], said["command"], sheets))
    machine, versions, threads = said["machine"], said["versions"], said.get("threads", 1)
    cores = "one thread" if threads == 1 else f"{threads} threads to train, one to be timed"
    took = said.get("minutes")
    lasted = "" if took is None else f", in {took:.0f} minutes from an empty folder, its teachers cached"
    foot = (
        f"Made by `python benchmarks/studies.py {said['task']}` at commit {said['commit']} on {machine['cpu']}, "
        f"{cores}{lasted}; {', '.join(f'{name} {version}' for name, version in versions.items())}. "
        f"{QUIET if said['quiet'] else SHARED} All figures: `results/{said['task']}.json`.\n"
    )
    return f"{body}\n{foot}"
