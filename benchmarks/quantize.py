"""Integers, measured: `python benchmarks/quantize.py [mnist] [conversion] ... [--only WORDS] [--time] [--render]`.

A row a file: ours by a recipe, the peers' from the same model and the same calibration data, every one judged from
what it answers. With `--time` the files are then timed against ours, interleaved, one subject and engine after the
other: on a quiet machine. Rows already in benchmarks/results/quantize.json are kept, so that a run can be taken up
where it stopped; benchmarks/quantize.md is written from that file after each row. The peers' environments are made by
benchmarks/quantize_peers/install.sh; a peer that cannot be run leaves a row that says why. Fewer bits: bits.py.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from kept import Kept, machine
from quantize_clock import timed
from quantize_files import Peer, answers_judged, file_bytes, folder_of, judged, our_file, weight_bytes
from quantize_page import page
from quantize_reasons import reason
from quantize_rows import ours, peers
from quantize_tasks import SUBJECTS, Subject, given_to_peers

from paring.artifacts.manifest import versions
from paring.core.recipe import Pass
from paring.errors import EngineError, ParityError

HOME = Path(__file__).parent
TABLE = Kept("quantize", page, ("rows", "times"))


def row_of_ours(name: str, subject: Subject, passes: tuple[Pass, ...]) -> dict[str, Any]:
    """Our file, made and judged, or why an engine refused it."""
    folder = folder_of(subject.name)
    try:
        path, said = our_file(name, subject, folder, passes)
    except ParityError as error:
        return {"refused": reason(error)}
    return _row(path, subject, folder) | said


def row_of_peer(name: str, subject: Subject, peer: Peer) -> dict[str, Any]:
    """A peer's file, or why there is none."""
    folder = folder_of(subject.name)
    try:
        path, said = peer.made(folder, name)
    except (EngineError, subprocess.TimeoutExpired) as error:
        return {"refused": reason(error)}
    return _row(path, subject, folder) | said


def _row(path: Path, subject: Subject, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"file": path.name, "baseline_bytes": file_bytes(folder / "model.onnx")}
    if path.suffix == ".npz":
        return row | {"targets": answers_judged(path, subject, folder)}
    row["file_bytes"] = file_bytes(path)
    row["weights_smaller"] = weight_bytes(folder / "model.onnx") / weight_bytes(path)
    return row | ({"targets": judged(path, subject, folder)} if subject.judged else {})


def _add(results: dict[str, Any], part: str, key: str, make: Callable[[], dict[str, Any]]) -> None:
    if key in results[part]:
        return
    print(f"{time.strftime('%H:%M:%S')} {key}", flush=True)
    began = time.perf_counter()
    row = make()
    row |= {"row_s": time.perf_counter() - began}
    results |= TABLE.add(row, part, key, machine=machine(), versions=versions(), seed=0, threads=1)


def main() -> None:
    """Runs what is missing of the named subjects, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", help=f"{', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--time", action="store_true", help="time the files of the rows there are; a quiet machine")
    parser.add_argument("--render", action="store_true", help="write the page from the rows there are, and stop")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = TABLE.load()
    if asked.render:
        TABLE.save(results)
        return
    for name in asked.subjects or SUBJECTS:
        makers = {f"{name}: {row}": partial(row_of_ours, passes=passes) for row, passes in ours(name).items()}
        makers |= {f"{name}: {row}": partial(row_of_peer, peer=peer) for row, peer in peers(name).items()}
        wanted = {key: make for key, make in makers.items() if asked.only in key}
        if asked.list:
            print("\n".join(key + (" (done)" if key in results["rows"] else "") for key in wanted))
            continue
        if asked.time:
            for key, make in timed(name, results["rows"]).items():
                if asked.only in key:
                    _add(results, "times", key, make)
            continue
        if wanted.keys() <= results["rows"].keys():
            continue
        subject = SUBJECTS[name]()
        given_to_peers(subject)
        for key, make in wanted.items():
            _add(results, "rows", key, partial(make, key.split(": ", 1)[1], subject))


if __name__ == "__main__":
    main()
