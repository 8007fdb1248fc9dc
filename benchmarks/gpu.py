"""A net of RoBERTa-base's size on a GPU: `python benchmarks/gpu.py`, with PyTorch for CUDA and onnxruntime-gpu.

Random weights, batches of 1 and 8 sentences of 128 tokens; every row of a batch in the same blocks, inputs and answers
in the processor's memory before and after each call. Writes benchmarks/gpu.md. Without a GPU it stops and says so.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from kept import Kept, machine
from torch import nn

from paring import Recipe, Target, compress, rebuild
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.core.task import Inputs, Task, call, pick_output, tensors_of
from paring.engines import devices, open_session
from paring.judge.bench import timed_inputs
from paring.measure.latency import Runner, compare, interleave, noise_floor, verdict
from paring.measure.quality import file_inputs
from paring.quantize.dynamic import Dynamic
from paring.studies.encoder import sized_task

BASE = "PyTorch eager, fp32"
BLOCKS = 24


def page(results: dict[str, Any]) -> str:
    """The page, from the rows that are there."""
    lines = [
        "# On a GPU",
        "",
        "A net of RoBERTa-base's size with random weights, 128 tokens; milliseconds of a call, inputs and answers in "
        "the processor's memory before and after it, against PyTorch eager on the same GPU in the same blocks (99 % "
        "intervals). Made by `python benchmarks/gpu.py`. ONNX Runtime has no CUDA kernels for dynamic INT8, so it "
        "multiplies those layers on the processor: a file for a GPU stays in floats. Only rows of one batch size are "
        "to be held against each other: the machine was in two states (see p99), which each block shares.",
        "",
        f"{results['machine'].get('gpu', '?')}, {results['machine']['cpu']}; "
        + ", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items()),
        "",
        "| row | batch | p50 | p99 | faster than eager | noise floor | commit |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results["rows"].items():
        ratio, low, high = row["faster"]
        told = f"{ratio:.2f}x ({low:.2f} to {high:.2f}), {row['verdict']}"
        lines.append(
            f"| {name.rpartition(', batch')[0]} | {row['batch_size']} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | "
            f"{told} | {100 * row['noise_floor']:.1f} % | {row['commit']} |"
        )
    return "\n".join(lines) + "\n"


TABLE = Kept("gpu", page)


def eager(model: nn.Module, inputs: Inputs, dtype: torch.dtype | None) -> Runner:
    """A call of the module on the GPU: inputs go there, the answer comes back."""

    @torch.inference_mode()
    def again() -> object:
        there = {name: tensor.cuda(non_blocking=True) for name, tensor in tensors_of(inputs).items()}
        with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None):
            return pick_output(call(model, there)).cpu()

    return again


def file_runner(task: Task, path: Path, batch_size: int) -> Runner:
    """A call of the file in ONNX Runtime on the GPU."""
    session = open_session(path, Target(device="cuda"))
    return session.prepare(file_inputs(session, timed_inputs(task, batch_size)))


def rows(task: Task, files: dict[str, Path], batch_size: int) -> dict[str, dict[str, Any]]:
    """All ways to run the net, in the same blocks."""
    there = copy.deepcopy(task.model).cuda()
    inputs = timed_inputs(task, batch_size)
    runners: dict[str, Runner] = {
        BASE: eager(there, inputs, None),
        "PyTorch eager, fp32, again": eager(there, inputs, None),
        "PyTorch eager, bf16 autocast": eager(there, inputs, torch.bfloat16),
        **{f"ONNX Runtime, {name}": file_runner(task, path, batch_size) for name, path in files.items()},
    }
    samples = interleave(runners, blocks=BLOCKS)
    floor = noise_floor(samples, BASE, "PyTorch eager, fp32, again")
    found = {}
    for name in runners:
        ratio = compare(samples, BASE, name)
        latency = samples.latency_ms(name)
        found[f"{name}, batch {batch_size}"] = {
            "batch_size": batch_size,
            "p50_ms": latency["p50"],
            "p99_ms": latency["p99"],
            "faster": [ratio.ratio, ratio.low, ratio.high],
            "noise_floor": floor,
            "verdict": verdict(samples, BASE, name, floor),
        }
    return found


def main() -> None:
    """Makes all rows anew."""
    if "cuda" not in devices("onnxruntime") or not torch.cuda.is_available():
        sys.exit("gpu.py: no GPU that both PyTorch and ONNX Runtime could run on: nothing is measured.")
    made: Callable[..., Any] = partial(TABLE.add, machine=machine(), versions=versions())
    task = sized_task()
    with TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name.replace(' ', '-')}.onnx" for name in ("fp32", "dynamic int8")}
        write_onnx(task.model, task, files["fp32"])
        write_onnx(rebuild(compress(task, Recipe((Dynamic(),))), task), task, files["dynamic int8"])
        for batch_size in (1, 8):
            for name, row in rows(task, files, batch_size).items():
                made(row, "rows", name)
                print(name, row, flush=True)


if __name__ == "__main__":
    main()
