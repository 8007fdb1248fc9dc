"""Few bits, measured: `python benchmarks/bits.py [mnist] [conversion] [resnet20] [encoder] [--only WORDS] [--render]`.

Weights alone in 4, 3 and 2 bits, rounded to nearest, by `quantize.gptq` and by `quantize.adaround`; weights in 4 bits
under rounded inputs, with and without training (`quantize.static` against `quantize.qat`); ternary and binary weights.
Every metric is taken from what the exported file answers in ONNX Runtime at its exact setting. Rows already in
benchmarks/results/bits.json are kept, so that a run can be taken up where it stopped; benchmarks/bits.md is written
from that file after each row.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from bits_page import page
from kept import Kept, machine
from search_tasks import SUBJECTS
from torch import Tensor

from paring import Recipe, Target, Task, compress, rebuild
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.core.recipe import Pass
from paring.distill.response import Response
from paring.engines import open_session
from paring.finetune import Finetune
from paring.measure.quality import file_outputs, quality
from paring.quantize.adaround import Adaround
from paring.quantize.binary import Binary
from paring.quantize.gptq import Gptq
from paring.quantize.granularity import Granularity, PerChannel, PerGroup
from paring.quantize.qat import Qat
from paring.quantize.static import Static
from paring.quantize.ternary import Ternary
from paring.quantize.weight_only import WeightOnly

HOME = Path(__file__).parent
TABLE = Kept("bits", page)
OUT = HOME.parent / "out" / "benchmarks" / "bits"
ROUNDINGS = {"nearest": WeightOnly, "gptq": Gptq, "adaround": Adaround}
TRAINED = {"mnist": 4, "resnet20": 3}  # epochs
GRANULARITIES: dict[str, tuple[Granularity, ...]] = {"encoder": (PerChannel(), PerGroup(64))}


def recipes(subject: str) -> dict[str, tuple[Pass, ...]]:
    """Row name -> passes."""
    rows: dict[str, tuple[Pass, ...]] = {}
    for granularity in GRANULARITIES.get(subject, (PerChannel(),)):
        words = f"groups of {size}" if (size := granularity.size()) else "channels"
        for bits in (4, 3, 2):
            for name, step in ROUNDINGS.items():
                rows[f"weights, {words}, {bits} bits, {name}"] = (step(num_bits=bits, granularity=granularity),)
    if subject in TRAINED:
        distilled = Response(temperature=4.0, alpha=0.9)
        how: dict[str, Any] = {
            "epochs": TRAINED[subject], "learning_rate": 1e-3, "precision": "bf16", "objective": distilled,
        }  # fmt: skip
        rows["inputs in 8 bits, 4 bits, nearest"] = (Static(num_bits=4),)
        rows["inputs in 8 bits, 4 bits, trained"] = (Qat(num_bits=4, **how),)
        rows["inputs in 8 bits, 3 bits, nearest"] = (Static(num_bits=3),)
        rows["inputs in 8 bits, 3 bits, trained"] = (Qat(num_bits=3, **how),)
        if subject == "mnist":
            rows["ternary, trained"] = (Ternary(**how),)
            rows["binary, trained"] = (Binary(**how),)
        rows["floats, trained as long"] = (Finetune(**how),)
    return rows


def made(key: str, task: Task, passes: tuple[Pass, ...]) -> dict[str, Any]:
    """One row: the file's metric and drop on validation and test."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "".join(one if one.isalnum() else "-" for one in f"{key}.onnx").replace("-onnx", ".onnx")
    candidate = compress(task, Recipe(passes, key))
    write_onnx(rebuild(candidate, task), task, path)
    session = open_session(path, Target("onnxruntime"), exact=True)
    seen = {}
    for split, data in (("validation", task.validation), ("test", task.test)):
        assert data is not None
        seen[split] = judged(task, before(task, split, data), *file_outputs(session, data), split)
    return {
        "recipe": [str(step) for step in passes],
        "file_bytes": path.stat().st_size,
        "declined": [[one.layer, one.reason] for one in candidate.declined],
        **seen,
    }


def judged(task: Task, first: Tensor, after: Tensor, targets: Tensor, split: str) -> dict[str, Any]:
    """Metric, drop and its interval; and how far the answers moved, as a share of their own size (root mean square)."""
    found = quality(task.metric, first, after, targets, split=split)
    moved = float((after.double() - first.double()).square().mean().sqrt() / first.double().square().mean().sqrt())
    return {
        "metric": found.metric, "drop": found.drop, "interval": found.drop_interval, "n": found.num_examples,
        "moved": moved,
    }  # fmt: skip


KEPT: dict[tuple[str, str], Tensor] = {}


def before(task: Task, split: str, data: Any) -> Tensor:
    """The fp32 file's answers, once."""
    if (task.name, split) not in KEPT:
        path = OUT / f"{task.name}.onnx"
        write_onnx(task.model, task, path)
        KEPT[task.name, split] = file_outputs(open_session(path, Target("onnxruntime")), data)[0]
    return KEPT[task.name, split]


def main() -> None:
    """Runs what is missing of the named subjects, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", help=f"{', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--render", action="store_true", help="write the page from the rows there are, and stop")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--without", default="\n", help="not those whose name holds this")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = TABLE.load()
    if asked.render:
        TABLE.save(results)
        return
    for subject in asked.subjects or SUBJECTS:
        wanted = {
            f"{subject}: {name}": passes
            for name, passes in recipes(subject).items()
            if asked.only in name and asked.without not in name
        }
        if asked.list:
            print("\n".join(key + (" (done)" if key in results["rows"] else "") for key in wanted))
            continue
        missing = {key: passes for key, passes in wanted.items() if key not in results["rows"]}
        task = SUBJECTS[subject]() if missing else None
        for key, passes in missing.items():
            assert task is not None
            began = time.perf_counter()
            row = made(key, task, passes) | {"row_s": time.perf_counter() - began}
            seen = row["test"]
            print(f"{time.strftime('%H:%M:%S')} {key}: {seen['metric']:.4f}, moved {seen['moved']:.4f}", flush=True)
            TABLE.add(row, "rows", key, machine=machine(), versions=versions(), seed=0, threads=1)


if __name__ == "__main__":
    main()
