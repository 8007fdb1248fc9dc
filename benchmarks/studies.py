"""The worked studies in full: `python benchmarks/studies.py NAME [--out DIR] [--quiet-machine | --again | --render]`.

Runs `paring study NAME` into DIR (whole candidates found there are kept, so that a killed run goes on), then writes
benchmarks/results/NAME.json and, from that file alone, the page benchmarks/NAME_study.md. `--render` only writes the
page anew. `--quiet-machine` says on the page that nothing else ran while files were timed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from kept import commit
from studies_page import page

from paring.cli.study import NAMES, Asked, study_of
from paring.judge.bench import Bench
from paring.studies.study import run_study

HOME = Path(__file__).parent
BULKY = ("memory", "roofline", "throughput")


def main() -> None:
    """Runs what is missing, then writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--log", action="append", default=[], help="conversion: only this log; nothing is written")
    parser.add_argument("--seeds", type=int, help="conversion: folds")
    parser.add_argument("--threads", type=int, default=1, help="torch's; files are timed with one")
    parser.add_argument("--quiet-machine", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--render", action="store_true")
    options = parser.parse_args()
    name = "size_study" if options.name == "size" else options.name  # results/size.json is benchmarks/size.py's
    results, out = HOME / "results" / f"{name}.json", options.out or Path(f"out/study-{options.name}")
    if not options.render:
        torch.set_num_threads(options.threads)
        imported = commit()  # before the checkout can move on under a long run
        study = study_of(options.name, Asked(logs=tuple(options.log), seeds=options.seeds))
        last, begun, fresh = "", time.perf_counter(), not out.exists()
        for told in run_study(study, out, Bench(), f"paring study {options.name}", anew=options.again):
            words = f"{told.subject}: {told.progress.text}"
            if words.split(",")[0] != last:
                print(words, flush=True)
            last = words.split(",")[0]
        if options.log:
            return
        said = json.loads((out / "results.json").read_text())
        said["rows"] = [{key: value for key, value in row.items() if key not in BULKY} for row in said["rows"]]
        more = {
            "commit": imported,
            "quiet": options.quiet_machine or options.again,
            "about": study.about,
            "title": study.title,
            "threads": options.threads,
            "minutes": _minutes(results, (time.perf_counter() - begun) / 60 if fresh else None, again=options.again),
        }
        columns = _columns(out, study.parts)
        results.write_text(json.dumps(said | more | {"columns": columns}, indent=1) + "\n")
    (HOME / f"{options.name}_study.md").write_text(page(json.loads(results.read_text())))


def _minutes(results: Path, took: float | None, *, again: bool) -> float | None:
    """This run's, where it made every row; else None, and where it only measured files anew what was known."""
    known = json.loads(results.read_text()) if again and results.is_file() else {}
    return took if took is not None else known.get("minutes")


def _columns(out: Path, parts: Any) -> dict[str, Any]:
    """Sheet name -> title, note and columns, from what the looks left."""
    found = {}
    for part in parts:
        for name in part.looks:
            path = out / part.name.replace(" ", "-") / "looks" / f"{name.replace(' ', '-')}.json"
            for sheet in json.loads(path.read_text())["sheets"]:
                found[sheet["name"]] = {key: sheet[key] for key in ("title", "note", "columns")}
    return found


if __name__ == "__main__":
    sys.exit(main())
