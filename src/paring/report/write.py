"""What a run leaves for its readers."""

from __future__ import annotations

from pathlib import Path

from paring.report.markdown import markdown
from paring.report.page import page
from paring.report.results import Run, results
from paring.store import write_json, write_text


def write_report(run: Run, folder: Path) -> None:
    """Writes results.json, report.html and report.md into `folder`. Raises ExportError if they cannot be written."""
    write_json(folder / "results.json", results(run))
    write_text(folder / "report.html", page(run))
    write_text(folder / "report.md", markdown(run))
