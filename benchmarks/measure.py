"""The measuring itself, measured: `python benchmarks/measure.py [same] [slowed] [loadgen] [profile]`.

Rows already in benchmarks/results/measure.json are kept, so a run can be taken up where it stopped; the page
benchmarks/measure.md is written from that file after each row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measure_page import page
from torch import Tensor, nn

from paring import Task, batches
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.core.target import Target
from paring.engines import machine, open_session
from paring.measure.compare import compare_files
from paring.measure.latency import interleave
from paring.measure.loadgen import Load, run_load
from paring.measure.metrics import accuracy
from paring.measure.profile import profile_file
from paring.measure.steady import steady

HOME = Path(__file__).parent
RESULTS, PAGE = HOME / "results" / "measure.json", HOME / "measure.md"
WIDTH, DEPTH = 256, 10
TURNS = 7
Rows = Iterator[tuple[str, Callable[[], dict[str, Any]]]]
TARGETS = {"onnxruntime fp32": Target("onnxruntime"), "openvino fp32": Target("openvino", static_shapes=True)}


def stack(depth: int, width: int = WIDTH) -> nn.Sequential:
    """`depth` equal Linears: one more than ten is known to be a tenth more work."""
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)))


def write(model: nn.Module, inputs: Any, path: Path, output: Callable[[Any], Tensor] = lambda answer: answer) -> Path:
    """The exported file of an untrained model."""
    data = batches(inputs, torch.zeros(2, dtype=torch.long))
    task = Task(
        model=model,
        example_inputs=inputs,
        calibration=data,
        validation=data,
        loss=nn.functional.cross_entropy,
        metric=accuracy,
        output=output,
    )
    path.parent.mkdir()
    (path.parent / "nodes.json").write_text(json.dumps(write_onnx(model.eval(), task, path)))
    return path


def verdicts(first: Path, second: Path, runs: int, batch_size: int = 1) -> Rows:
    """Verdict, ratio and floor of `second` against `first`, `runs` times per engine."""
    for run in range(runs):
        for name, target in TARGETS.items():
            yield f"{name}, {run}", partial(_verdict, first, second, replace(target, batch_size=batch_size), run)


def _verdict(first: Path, second: Path, target: Target, seed: int) -> dict[str, Any]:
    (result,) = compare_files([first, second], [target], seed=seed)
    row = next(row for row in result.rows if row.place == 1)
    return {
        "verdict": row.verdict,
        "ratio": [row.ratio.low, row.ratio.ratio, row.ratio.high],
        "noise_floor": row.noise_floor,
        "drift": result.drift,
        "load_average": os.getloadavg()[0],
    }


def same(folder: Path) -> Rows:
    """A file against a byte-for-byte copy of itself."""
    first = write(stack(DEPTH), torch.randn(2, WIDTH), folder / "first" / "model.onnx")
    second = folder / "second.onnx"
    second.write_bytes(first.read_bytes())
    yield from verdicts(first, second, 100)


def slowed(folder: Path) -> Rows:
    """Ten equal convolutions against eleven."""

    def convolutions(depth: int) -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Conv2d(32, 32, 3, padding=1) for _ in range(depth)))

    x = torch.randn(2, 32, 14, 14)
    first = write(convolutions(DEPTH), x, folder / "ten" / "model.onnx")
    second = write(convolutions(DEPTH + 1), x, folder / "eleven" / "model.onnx")
    yield from verdicts(first, second, 20)


def overloaded(folder: Path) -> Rows:
    """The same beside eight processes that never rest."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)]
    try:
        for name, row in slowed(folder):
            if int(name.rpartition(", ")[2]) < 10:
                yield name, row
    finally:
        for one in busy:
            one.kill()
            one.wait()


def linears(folder: Path) -> Rows:
    """Ten Linears against eleven, their weights (0.7 MB) well inside the second-level cache; batch 64."""
    yield from _ten_against_eleven(folder, 128, 64)


def edge(folder: Path) -> Rows:
    """The same with weights (2.6 MB) about as large as that cache; batch 1."""
    yield from _ten_against_eleven(folder, WIDTH, 1)


def _ten_against_eleven(folder: Path, width: int, batch_size: int) -> Rows:
    first = write(stack(DEPTH, width), torch.randn(2, width), folder / "ten" / "model.onnx")
    second = write(stack(DEPTH + 1, width), torch.randn(2, width), folder / "eleven" / "model.onnx")
    yield from verdicts(first, second, 20, batch_size)


def loadgen(folder: Path) -> Rows:
    """p90 of LoadGen's SingleStream and our own, of the same file, taken in turns of a second or two."""
    for width in (256, 1024):
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Linear(width, width) for _ in range(DEPTH)))
        path = write(model, torch.randn(2, width), folder / str(width) / "model.onnx")
        for run in range(3):
            yield f"width {width}, run {run}", partial(_both, path, width)


def _both(path: Path, width: int) -> dict[str, Any]:
    session = open_session(path, Target("onnxruntime"))
    call = session.prepare({session.inputs[0].name: np.zeros((1, width), np.float32)})
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append(interleave({"ours": call}, blocks=20, min_block_ms=50.0).latency_ms("ours")["p90"])
        with steady(1):
            theirs.append(run_load(Load("SingleStream"), lambda _: call()).latency_ms["p90"])
    return {"ours_p90_ms": median(ours), "loadgen_p90_ms": median(theirs), "turns": [ours, theirs]}


def profile(folder: Path) -> Rows:
    """The share of the operators' time that belongs to a named module, on a 6-layer BERT of hidden size 384."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    ids = torch.randint(0, 30000, (2, 64))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    bert = BertForSequenceClassification(config)
    path = write(bert, inputs, folder / "bert" / "model.onnx", lambda answer: answer.logits)
    for name, target in TARGETS.items():
        yield name, partial(_profile, path, target, dict.fromkeys(inputs, (1, 64)))


def _profile(path: Path, target: Target, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    found = profile_file(path, target, shapes=shapes)
    return {"attributed": found.attributed, "covered": found.covered, "call_ms": found.call_ms}


SECTIONS = {
    "same": same,
    "slowed": slowed,
    "linears": linears,
    "edge": edge,
    "overloaded": overloaded,
    "loadgen": loadgen,
    "profile": profile,
}


def main() -> None:
    """Runs the sections named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*")
    chosen = parser.parse_args().sections or list(SECTIONS)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"rows": {}}
    results |= {"machine": machine(), "versions": versions()}
    for section in chosen:
        own = results["rows"].setdefault(section, {})
        with TemporaryDirectory() as folder:
            for name, row in SECTIONS[section](Path(folder)):
                if name in own:
                    continue
                own[name] = row()
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                PAGE.write_text(page(results))
        print(section, len(own), "rows", flush=True)


if __name__ == "__main__":
    main()
