"""Low rank, measured: `python benchmarks/factorize.py [cost] [mnist] [text] [vgg] [--only WORDS] [--time] [--render]`.

Each row compresses one recipe, exports it, checks the file against the model, and takes the metric from the file on
validation and test, in every engine and precision here. With `--time` the files made so are then timed against the
baseline's file, interleaved, one row after the other: on a quiet machine. Rows already in
benchmarks/results/factorize.json are kept, so that a run can be taken up where it stopped; the page
benchmarks/factorize.md is written from that file after each row.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from factorize_page import page
from factorize_tasks import SUBJECTS, Subject
from kept import Kept, machine

from paring import Recipe, Target, compress, rebuild
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.artifacts.verify import check_parity
from paring.core.candidate import Candidate
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.distill.response import Response
from paring.engines import open_session
from paring.errors import EngineError, ParityError
from paring.factorize.rank import ByClock, RankChoice, Ratio
from paring.factorize.spatial import Spatial
from paring.factorize.svd import Svd
from paring.factorize.tucker import Tucker
from paring.factorize.whitened_svd import WhitenedSvd
from paring.finetune import Finetune
from paring.judge.bench import Bench, timed_inputs
from paring.measure.latency import Runner, compare, noise_floor, verdict
from paring.measure.lives import interleave_anew
from paring.measure.macs import macs, num_params
from paring.measure.quality import file_inputs, file_outputs, quality
from paring.numerics.factor import decompose, output_loss
from paring.numerics.hessian import Moments, whitening
from paring.quantize.static import Static

HOME = Path(__file__).parent
TABLE = Kept("factorize", page)
BLOCKS, BLOCK_MS = 32, 5.0
FEED_FORWARD = ("*.intermediate.dense", "*.layer.?.output.dense")
TARGETS = [
    Target("onnxruntime"),
    Target("openvino", "fp32", static_shapes=True),
    Target("openvino", "bf16", static_shapes=True),
]


def recipes(subject: str) -> dict[str, tuple[Pass, ...]]:
    """Row name -> the passes of that row."""
    distilled = Response(temperature=4.0, alpha=0.9)
    rows: dict[str, tuple[Pass, ...]] = {}

    def both(name: str, rank: RankChoice, *after: Pass, **where: Any) -> None:
        rows[f"plain, {name}"] = (Svd(rank=rank, **where), *after)
        rows[f"whitened, {name}"] = (WhitenedSvd(rank=rank, **where), *after)

    if subject == "mnist":
        dense = {"exclude": ("fc4",)}
        for ratio in (0.5, 0.3, 0.2, 0.1, 0.05):
            both(f"ratio {ratio}", Ratio(ratio), **dense)
        for target in (TARGETS[0], TARGETS[1]):
            rows[f"whitened, by clock in {target}"] = (WhitenedSvd(rank=ByClock(0.02, target), **dense),)
        rows["whitened, ratio 0.1, int8"] = (WhitenedSvd(rank=Ratio(0.1), **dense), Static())
        rows["int8"] = (Static(),)
    if subject == "text":
        inside: dict[str, Any] = {"include": FEED_FORWARD}
        recovery = Finetune(epochs=1, learning_rate=5e-5, precision="bf16", objective=distilled)
        for ratio in (0.7, 0.65, 0.63, 0.6, 0.5, 0.4, 0.3):
            both(f"ratio {ratio}", Ratio(ratio), **inside)
        rows["plain fisher, ratio 0.5"] = (Svd(rank=Ratio(0.5), fisher=True, **inside),)
        for ratio in (0.7, 0.6, 0.5):
            rows[f"whitened fisher, ratio {ratio}"] = (WhitenedSvd(rank=Ratio(ratio), fisher=True, **inside),)
        for target in TARGETS:
            for error in (0.05, 0.1):
                step = WhitenedSvd(rank=ByClock(error, target), **inside)
                rows[f"whitened, by clock {error} in {target}"] = (step,)
        for ratio in (0.4, 0.3):
            both(f"ratio {ratio}, recovered", Ratio(ratio), recovery, **inside)
        step = WhitenedSvd(rank=Ratio(0.6), fisher=True, **inside)
        rows["whitened fisher, ratio 0.6, recovered"] = (step, recovery)
        rows["whitened, ratio 0.4, recovered, int8"] = (WhitenedSvd(rank=Ratio(0.4), **inside), recovery, Static())
        rows["int8"] = (Static(),)
    if subject == "vgg":
        recovery = Finetune(epochs=2, learning_rate=1.5e-3, warmup=0.1, precision="bf16", objective=distilled)
        for method in ("hosvd", "hooi", "whitened"):
            rows[f"tucker {method}, ratio 0.3"] = (Tucker(rank=Ratio(0.3), method=method),)  # type: ignore[arg-type]
        rows["spatial, ratio 0.4"] = (Spatial(rank=Ratio(0.4)),)
        for target, error in [(TARGETS[0], 0.0055), (TARGETS[0], 0.007), *((target, 0.004) for target in TARGETS)]:
            step = Tucker(rank=ByClock(error, target))
            rows[f"tucker, by clock {error} in {target}, recovered"] = (step, recovery)
        step = Tucker(rank=ByClock(0.004, TARGETS[1], int8=True))
        rows["tucker, by clock 0.004 in int8, recovered, int8"] = (step, recovery, Static())
        rows["int8"] = (Static(),)
    return rows


def made(name: str, subject: Subject, passes: tuple[Pass, ...]) -> dict[str, Any]:
    """One row without its timings: quality of the file per Target. The file stays for `timed`."""
    task, folder = subject.task, files_of(name)
    began, clock = time.perf_counter(), time.process_time()
    candidate = compress(task, Recipe(passes, name))
    seconds = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - clock}
    model, dense = rebuild(candidate, task), rebuild(compress(task, Recipe()), task)
    path, base = folder / "candidate.onnx", folder / "baseline.onnx"
    write_onnx(model, subject.timed, path)
    write_onnx(dense, subject.timed, base)
    if subject.layers is not None:
        for label, net in {"layers": model, "dense-layers": dense}.items():
            alone = subject.layers(net, task)
            write_onnx(alone.model, alone, folder / f"{label}.onnx")
    before = {split: file_outputs(open_session(base, TARGETS[0]), data) for split, data in _splits(task)}
    rows: list[dict[str, Any]] = []
    for target in _targets():
        try:
            exact = open_session(path, replace(target, precision="fp32"), exact=True)
            parity = check_parity(exact, model, subject.timed, where=f"{name} in {target}")
            session = open_session(path, target)
            seen = {
                split: _quality(task, before[split], file_outputs(session, data), split)
                for split, data in _splits(task)
            }
        except (EngineError, ParityError) as error:
            rows.append({"target": str(target), "refused": str(error)})
            continue
        rows.append({"target": str(target), "parity_error": parity, **seen})
    return {
        "recipe": [str(step) for step in passes],
        "num_params": num_params(model),
        "macs": macs(model, task.example_inputs),
        "file_bytes": path.stat().st_size,
        "baseline_file_bytes": base.stat().st_size,
        "edits": [edit.to_json() for edit in candidate.edits if type(edit).__name__.startswith("Factorize")],
        "declined": _declined(candidate),
        "targets": rows,
        **seconds,
    }


def timed(name: str, subject: Subject, row: dict[str, Any]) -> None:
    """Adds the times of the row's files to it, per Target."""
    folder = files_of(name)
    for target in _targets():
        one = next(one for one in row["targets"] if one["target"] == str(target))
        if "refused" not in one:
            one |= clocked(folder / "candidate.onnx", folder / "baseline.onnx", subject.timed, target)
            if subject.layers is not None:
                alone = subject.layers(subject.task.model, subject.task)
                one["layers"] = clocked(folder / "layers.onnx", folder / "dense-layers.onnx", alone, target)


def files_of(name: str) -> Path:
    """The folder of a row's files."""
    folder = HOME.parent / "out" / "benchmarks" / "factorize" / re.sub(r"[^a-z0-9.]+", "-", name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clocked(path: Path, base: Path, task: Task, target: Target) -> dict[str, Any]:
    """The file against the baseline's in the same Target, with the noise floor of the baseline against itself."""
    inputs = timed_inputs(task, target.batch_size)

    def opened(file: Path) -> Runner:
        session = open_session(file, target)
        fed = file_inputs(session, inputs)
        if target.static_shapes:
            session = open_session(file, target, static={key: array.shape for key, array in fed.items()})
        return session.prepare(fed)

    openers = {"dense": base, "dense again": base, "candidate": path}
    samples = interleave_anew(
        {label: partial(opened, file) for label, file in openers.items()},
        lives=2, blocks=BLOCKS, min_block_ms=BLOCK_MS, threads=target.threads,
    )  # fmt: skip
    ratio, floor = compare(samples, "dense", "candidate"), noise_floor(samples, "dense", "dense again")
    return {
        "p50_ms": samples.latency_ms("candidate")["p50"],
        "dense_p50_ms": samples.latency_ms("dense")["p50"],
        "speedup": [ratio.ratio, ratio.low, ratio.high],
        "noise_floor": floor,
        "verdict": verdict(samples, "dense", "candidate", floor),
    }


def cost() -> dict[str, Any]:
    """A 768 x 3072 layer with 4,096 samples, in a process of its own on one core."""
    code = "import factorize, json; print(json.dumps(factorize.cost_here()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME)
    row: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return row


def cost_here() -> dict[str, Any]:
    """Seconds and memory of second moment, root, SVD and factors; float64 throughout."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    X_NI = torch.randn(4096, 3072, generator=generator)
    W_OI = torch.randn(768, 3072, generator=generator)
    decompose(W_OI[:64, :64], whitening(torch.eye(64, dtype=torch.float64)))  # loads what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    moments = Moments(3072)
    moments.add_(X_NI)
    G_II = moments.covariance_II
    parts = decompose(W_OI, whitening(G_II))
    A_OR, B_RI = parts.cut(256)
    row = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    row["peak_extra_bytes"] = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    row["in_squares"] = row["peak_extra_bytes"] / (8 * 3072**2)
    measured = output_loss(W_OI, A_OR, B_RI, G_II)
    return row | {"predicted_loss": parts.loss(256), "measured_loss": measured}


def _targets() -> list[Target]:
    here = {(target.engine, target.precision) for target in Bench().targets()}
    return [target for target in TARGETS if (target.engine, target.precision) in here]


def _splits(task: Task) -> list[tuple[str, Any]]:
    return [("validation", task.validation), ("test", task.test)]


def _quality(task: Task, before: Any, after: Any, split: str) -> dict[str, Any]:
    found = quality(task.metric, before[0], after[0], after[1], split=split)
    return {"metric": found.metric, "drop": found.drop, "interval": found.drop_interval, "n": found.num_examples}


def _declined(candidate: Candidate) -> list[list[str]]:
    return [[declined.layer, declined.reason] for declined in candidate.declined]


def _is_timed(key: str) -> bool:
    """A plain factorization has the shapes of the whitened one, and so its time."""
    return ": plain" not in key


def _add(results: dict[str, Any], key: str, make: Callable[[], dict[str, Any]]) -> None:
    if key in results["rows"]:
        return
    print(f"{time.strftime('%H:%M:%S')} {key}", flush=True)
    began = time.perf_counter()
    row = make()
    row |= {"row_s": time.perf_counter() - began}
    about = {"machine": machine(), "versions": versions(), "seed": 0, "blocks": BLOCKS, "threads": 1}
    results |= TABLE.add(row, "rows", key, **about)


def main() -> None:
    """Runs what is missing of the named parts, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"cost, {', '.join(SUBJECTS)}; all by default")
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
    for part in asked.parts or ["cost", *SUBJECTS]:
        if part == "cost":
            _add(results, "cost", cost)
            continue
        wanted = {f"{part}: {name}": passes for name, passes in recipes(part).items() if asked.only in name}
        if asked.list:
            print("\n".join(key + (" (done)" if key in results["rows"] else "") for key in wanted))
            continue
        if asked.time:
            made_rows = {key: row for key, row in results["rows"].items() if key in wanted and _is_timed(key)}
            missing = [key for key, row in made_rows.items() if "p50_ms" not in str(row)]
            if missing:
                subject = SUBJECTS[part]()
            for key in missing:
                print(f"{time.strftime('%H:%M:%S')} {key}, timed", flush=True)
                timed(key, subject, results["rows"][key])
                TABLE.save(results)
            continue
        if wanted.keys() <= results["rows"].keys():
            continue
        subject = SUBJECTS[part]()
        for key, passes in wanted.items():
            _add(results, key, partial(made, key, subject, passes))


if __name__ == "__main__":
    main()
