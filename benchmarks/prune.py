"""Pruning, measured: `python benchmarks/prune.py [PART ...] [--only WORDS] [--list] [--time] [--render]`.

Each row prunes one net by one recipe, exports it, and takes the metric from the exported file on validation and test
(ONNX Runtime, fp32). Rows already in benchmarks/results/prune.json are kept, so that a run can be taken up where it
stopped; the page benchmarks/prune.md is written from that file after each row. The files stay in the user's cache, and
`--time` times them against the dense file, interleaved, in every engine and precision here: on a quiet machine only.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from kept import ABOUT, Kept, commit, machine, placed
from prune_cost import cost
from prune_page import page
from prune_recipes import PARTS, SEEDS
from prune_resnet import jobs as resnet_jobs
from prune_tasks import SUBJECTS, Subject
from torch import Tensor, nn

from paring import Recipe, Target, compress, pack, rebuild
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.core.recipe import Pass
from paring.core.scratch import Scratch
from paring.core.task import Task
from paring.engines import FileSession, open_session
from paring.graph.edits.mask import MASK
from paring.judge.bench import Bench, timed_inputs
from paring.measure.compare import compare_files
from paring.measure.macs import macs, num_params
from paring.measure.quality import file_inputs, file_outputs, quality
from paring.numerics.footprint import footprint
from paring.studies.teachers import cache_folder

HOME = Path(__file__).parent
TABLE = Kept("prune", page)
FILES = cache_folder().parent / "benchmarks" / "prune"
EXACT = Target("onnxruntime")

Job = Callable[[], dict[str, Any]]
subject_of = cache(lambda part, seed: SUBJECTS[part](seed))


def onnx_path(key: str) -> Path:
    """Where the file of a row stays."""
    FILES.mkdir(parents=True, exist_ok=True)
    return (
        FILES / f"{key.replace(': ', '-').replace(',', '').replace('%', '').replace(' ', '-').replace(':', 'of')}.onnx"
    )


@cache
def dense(part: str, seed: int) -> tuple[Path, dict[str, tuple[Tensor, Tensor]]]:
    """The unpruned net's file, and its answers with the targets on both splits."""
    subject: Subject = subject_of(part, seed)
    path = onnx_path(f"{part}: dense, seed {seed}")
    write_onnx(subject.dense, subject.timed, path)
    return path, {split: file_outputs(open_session(path, EXACT), data) for split, data in splits(subject.task)}


def splits(task: Task) -> list[tuple[str, Any]]:
    """What is selected on, and what is reported."""
    return [("validation", task.validation), ("test", task.test)]


def pruned(part: str, seed: int, key: str, passes: tuple[Pass, ...]) -> dict[str, Any]:
    """One row by a recipe."""
    subject: Subject = subject_of(part, seed)
    began, clock = time.perf_counter(), time.process_time()
    task = replace(subject.task, scratch=Scratch(FILES / "scratch"))  # a training that was done is not done again
    candidate = compress(task, Recipe(passes, key))
    seconds = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - clock}
    row = judged(part, seed, key, rebuild(candidate, subject.task))
    return (
        row
        | seconds
        | {
            "recipe": [str(step) for step in passes],
            "declined": [[declined.layer, declined.reason] for declined in candidate.declined],
            "history": [asdict(epoch) for epoch in candidate.history],
        }
    )


def judged(part: str, seed: int, key: str, model: nn.Module) -> dict[str, Any]:
    """What the model's file weighs and answers."""
    subject: Subject = subject_of(part, seed)
    base, before = dense(part, seed)
    path = onnx_path(key)
    write_onnx(model, subject.timed, path)
    session = open_session(path, EXACT)
    row: dict[str, Any] = {
        "part": part,
        "seed": seed,
        "num_params": num_params(model),
        "macs": macs(model, subject.task.example_inputs),
        "dense_macs": macs(subject.dense, subject.task.example_inputs),
        "file_bytes": path.stat().st_size,
        "dense_file_bytes": base.stat().st_size,
        "layers": zeros(model),
    }
    if part in ("wide", "units"):
        row["coded_bytes"] = coded(path)
        row["dense_coded_bytes"] = coded(base)
    for split, data in splits(subject.task):
        answers, targets = file_outputs(session, data)
        seen = quality(subject.task.metric, before[split][0], answers, targets, split=split, seed=seed)
        row[split] = {"metric": seen.metric, "drop": seen.drop, "interval": seen.drop_interval, "n": seen.num_examples}
    return row


def coded(path: Path) -> int:
    """Bytes of the file in Paring's own container."""
    target = path.with_suffix(".paring")
    pack(path, target)
    return target.stat().st_size


def zeros(model: nn.Module) -> dict[str, Any]:
    """Layer -> what its masked weight takes dense, as CSR and at its entropy."""
    found = {}
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None and MASK in module._buffers:
            found[name] = asdict(footprint(weight))
    return found


def jobs(part: str) -> dict[str, Job]:
    """Row name -> what makes it."""
    if part == "cost":
        return cost()
    if part.startswith("resnet"):
        return resnet_jobs(part, lambda seed: subject_of(part, seed).task, partial(pruned, part), partial(judged, part))
    return {
        (key := f"{part}: {name}, seed {seed}"): partial(pruned, part, seed, key, passes)
        for seed in range(SEEDS[part])
        for name, passes in PARTS[part]().items()
    }


def timed(part: str, keys: list[str], blocks: int) -> dict[str, Any]:
    """Row -> Target -> the file's time against the dense file's on that same Target, all in the same blocks."""
    task: Task = subject_of(part, 0).timed
    base = dense(part, 0)[0]

    def inputs_for(session: FileSession, batch_size: int) -> Any:
        return file_inputs(session, timed_inputs(task, batch_size))

    found: dict[str, Any] = {key: {} for key in keys}
    targets = Bench(engines=("onnxruntime", "openvino")).targets()
    for told in compare_files([base, *map(onnx_path, keys)], targets, inputs_for=inputs_for, blocks=blocks):
        for one in told.rows:
            if one.place > 0:
                found[keys[one.place - 1]][str(one.target)] = {
                    "p50_ms": one.latency_ms["p50"],
                    "speedup": [one.ratio.ratio, one.ratio.low, one.ratio.high],
                    "noise_floor": one.noise_floor,
                    "verdict": one.verdict,
                    "drift": told.drift,
                }
    return found


def holds(key: str, words: list[str]) -> bool:
    """Whether a row's name holds every word, and none that stands behind a minus."""
    return all((word[1:] not in key) if word.startswith("-") else (word in key) for word in words)


def add(rows: dict[str, dict[str, Any]]) -> None:
    """Puts rows into the file, beside what another process may have put there meanwhile."""
    with (FILES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results = TABLE.load()
        about = {"machine": machine(), "versions": versions(), "threads": 1}
        other = placed(results, about)
        for key, row in rows.items():
            where = {"timed_where" if "timed" in row else "where": there for there in other.values()}
            results["rows"][key] = results["rows"].get(key, {"commit": commit()}) | row | where
        results |= {name: value for name, value in about.items() if name not in ABOUT or name not in results}
        TABLE.save(results)


def main() -> None:
    """Runs what is missing of the named parts, all of them by default."""
    every = ["cost", *SUBJECTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(every)}; all by default")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--render", action="store_true", help="write the page from the rows there are, and stop")
    parser.add_argument("--time", action="store_true", help="time the files of rows that are there")
    parser.add_argument("--blocks", type=int, default=16, help="blocks a file is timed in")
    parser.add_argument("--only", default="", help="rows that hold all of these words, and none behind a minus")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    FILES.mkdir(parents=True, exist_ok=True)
    if asked.render:
        add({})
        return
    for part in asked.parts or every:
        wanted = {key: job for key, job in jobs(part).items() if holds(key, asked.only.split(","))}
        if asked.list:
            print("\n".join(key + (" (done)" if key in TABLE.load()["rows"] else "") for key in wanted))
        elif asked.time:
            keys = [key for key in wanted if key in TABLE.load()["rows"] and onnx_path(key).is_file()]
            for start in range(0, len(keys), 6):
                print(f"{time.strftime('%H:%M:%S')} timing {keys[start : start + 6]}", flush=True)
                found = timed(part, keys[start : start + 6], asked.blocks)
                add({key: {"timed": row} for key, row in found.items()})
        else:
            for key, job in wanted.items():
                if key not in TABLE.load()["rows"]:
                    print(f"{time.strftime('%H:%M:%S')} {key}", flush=True)
                    row = job()
                    add({key: row})
                    print(
                        "   ", {name: row[name] for name in ("test", "file_bytes", "wall_s") if name in row}, flush=True
                    )


if __name__ == "__main__":
    sys.exit(main())
