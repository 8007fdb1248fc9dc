"""Our search against the peers' own, on the same nets, data and minutes: `python benchmarks/search_peers.py [NET ...]`.

Every one of them is asked for the fastest file that loses at most half a percent of the metric on validation, in
`--minutes` (10). The files are then judged here, and timed in turns, each in the engine and shape it runs fastest in.
`--only WORDS` takes rows whose names hold them; `--time` times the files there are, on a quiet machine. Environments:
`bash benchmarks/quantize_peers/install.sh`. Rows lie in results/search_peers.json, and
the page is search_peers.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from kept import HOME, PEERS, Kept, machine
from quantize_files import TARGETS, call_of, file_bytes, file_name, judged
from quantize_tasks import OUT, SUBJECTS, Subject, given_to_peers
from search_peers_page import page

from paring import Budget, open_run
from paring.artifacts.manifest import versions
from paring.core.stream import drain
from paring.core.task import outputs_and_targets
from paring.engines import open_session
from paring.errors import EngineError
from paring.judge.bench import Bench
from paring.measure.latency import Runner, compare, interleave, noise_floor
from paring.measure.quality import file_inputs
from paring.search.search import Effort, search

NETS = ("mnist", "conversion", "resnet20", "encoder")
MAX_DROP = 0.005  # of the net's own metric on validation
SCRIPTS = {
    "NNCF": ("nncf", "nncf_search.py", "xml"),
    "Olive": ("olive", "olive_search.py", "onnx"),
    "neural-compressor": ("neural_compressor", "neural_compressor_search.py", "onnx"),
}
OURS, SURELY = "Paring", "Paring, surely"  # the second holds the drop's interval within the limit
FP32, AGAIN = "fp32 file", "again"
TABLE = Kept("search_peers", page, ("rows", "timed"))
Row = dict[str, Any]
subject_of = cache(lambda net: SUBJECTS[net]())


def limit(subject: Subject) -> float:
    """The metric's largest drop, absolute."""
    task = subject.task
    return MAX_DROP * abs(task.metric(*outputs_and_targets(task, task.model, task.validation)))


def asked(subject: Subject, minutes: float) -> Path:
    """The folder that peers read, the validation data and the question beside what quantizers read."""
    folder, task = given_to_peers(subject), subject.task
    session = open_session(folder / "model.onnx", TARGETS[0])
    np.savez(
        folder / "validation.npz",
        **{
            f"{place:04d}/{name}": array
            for place, (inputs, target) in enumerate(task.validation)
            for name, array in (file_inputs(session, inputs) | {"target": np.asarray(target)}).items()
        },
    )
    ask = {
        "metric": task.metric.name,
        "max_drop": limit(subject),
        "seconds": 60 * minutes,
        "is_transformer": subject.name == "encoder",
    }
    (folder / "ask.json").write_text(json.dumps(ask))
    return folder


def theirs(net: str, peer: str, minutes: float) -> Row:
    """A peer's file, judged; what it said where it made none."""
    subject = subject_of(net)
    folder = asked(subject, minutes)
    environment, script, ending = SCRIPTS[peer]
    path = folder / f"{file_name(f'searched by {peer}')}.{ending}"
    python = PEERS / environment / "bin" / "python"
    call = [str(python), str(HOME / "search_peers" / script), str(folder), str(path)]
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    start = time.perf_counter()
    try:
        ran = subprocess.run(call, capture_output=True, text=True, check=False, timeout=60 * minutes, env=kept)
    except subprocess.TimeoutExpired:
        return {"miss": f"no file in {minutes:g} minutes", "seconds": time.perf_counter() - start}
    seconds = time.perf_counter() - start
    if ran.returncode or not path.is_file():
        lines = [line for line in ran.stderr.splitlines() if line.strip()] or ["it said nothing"]
        return {"miss": lines[-1].strip()[:300], "seconds": seconds}
    said = json.loads(ran.stdout.splitlines()[-1])
    return _judged(subject, folder, path) | {"seconds": seconds, "said": said}


def ours(net: str, name: str, minutes: float) -> Row:
    """The file that our search ends with, judged as the others'."""
    subject = subject_of(net)
    folder, task, bench = asked(subject, minutes), subject.task, Bench()
    start = time.perf_counter()
    budget = Budget(max_metric_drop=limit(subject), use_interval=name == SURELY)
    run_folder = open_run(folder / file_name(f"search of {name}"), task, bench.conditions())
    ended = drain(search(task, run_folder, bench, budget, Effort(time_s=60 * minutes)))
    seconds = time.perf_counter() - start
    chosen = next((one for one in ended.run.candidates if one.name == ended.run.chosen), None)
    if chosen is None:
        return {"miss": str(ended.miss), "seconds": seconds}
    path = folder / f"{file_name(f'searched by {name}')}.onnx"
    shutil.copy(run_folder.artifact / "model.onnx", path)
    said = {"trials": len(ended.trials), "chosen": chosen.name, "recipe": list(chosen.recipe)}
    return _judged(subject, folder, path) | {"seconds": seconds, "said": said}


def _judged(subject: Subject, folder: Path, path: Path) -> Row:
    return {"file": path.name, "bytes": file_bytes(path), "targets": judged(path, subject, folder)}


def clocked(net: str) -> Row:
    """Every file in every engine, in turns; each is then its fastest, and ours is held against theirs."""
    subject, folder = subject_of(net), OUT / net
    made = {name.partition(": ")[2]: row for name, row in TABLE.load()["rows"].items() if name.startswith(f"{net}: ")}
    files = {FP32: folder / "model.onnx"} | {name: folder / row["file"] for name, row in made.items() if "file" in row}
    runners: dict[str, Runner] = {}
    for name, path in files.items():
        for target in TARGETS:
            try:
                runners[f"{name} | {target}"] = call_of(path, target, subject.timed)
            except EngineError:
                continue
    base = f"{FP32} | {TARGETS[0]}"
    runners[AGAIN] = call_of(files[FP32], TARGETS[0], subject.timed)
    samples = interleave(runners, blocks=40, min_block_ms=5.0)
    ms = {name: samples.latency_ms(name)["p50"] for name in runners if name != AGAIN}
    best = {
        name: min((key for key in ms if key.startswith(f"{name} |")), key=ms.__getitem__, default=None)
        for name in files
    }
    faster: dict[str, dict[str, list[float]]] = {OURS: {}, SURELY: {}}
    for our, ratios in faster.items():
        for name in files:
            if name not in faster and best[name] and best.get(our):
                ratio = compare(samples, best[name], best[our])
                ratios[name] = [ratio.ratio, ratio.low, ratio.high]
    return {"ms": ms, "best": best, "faster": faster, "noise_floor": noise_floor(samples, base, AGAIN)}


def main() -> None:
    """Runs the rows that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", help=f"{', '.join(NETS)}; all by default")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each search")
    parser.add_argument("--only", default="", help="rows whose names hold these words")
    parser.add_argument("--time", action="store_true", help="time the files that are there")
    parser.add_argument("--render", action="store_true", help="write the page from the rows that are there")
    given = parser.parse_args()
    if given.render:
        TABLE.save(TABLE.load())
        return
    for net in given.nets or NETS:
        jobs = {f"{net}: {name}": partial(ours, net, name, given.minutes) for name in (OURS, SURELY)}
        jobs |= {f"{net}: {peer}": partial(theirs, net, peer, given.minutes) for peer in SCRIPTS}
        part = "rows"
        if given.time:
            jobs, part = {net: partial(clocked, net)}, "timed"
        for name, job in jobs.items():
            if name in TABLE.load()[part] or given.only not in name:
                continue
            print(time.strftime("%H:%M:%S"), name, flush=True)
            row = job()
            print("   ", row.get("miss") or row.get("bytes") or row.get("faster"), flush=True)
            TABLE.add(row, part, name, machine=machine(), versions=versions(), minutes=given.minutes)


if __name__ == "__main__":
    main()
