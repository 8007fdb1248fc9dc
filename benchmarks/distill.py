"""Distillation, measured: `python benchmarks/distill.py [GROUP ...] [--list] [--render]`.

Groups: mnist, objectives, conversion, language, text.

Each row trains one student with one seed, and takes its metric on the test split from the PyTorch model. Rows already
in benchmarks/results/distill.json are kept, so that a run can be taken up where it stopped; the page
benchmarks/distill.md is written from that file after each row. `--time` adds what the clock says of the exported text
student against its teacher, and nothing else; it means something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from distill_page import page
from distill_tasks import LOGS, language_task, log_fold, mnist_task, num_params, outside_embeddings, text_task
from kept import Kept, machine
from torch import nn

from paring import Recipe, Target, compress, rebuild
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.core.objective import Objective, Supervised
from paring.core.recipe import Pass
from paring.core.stream import drain
from paring.core.task import Task, outputs_and_targets, tensors_of
from paring.distill.attention_transfer import AttentionTransfer
from paring.distill.decoupled import Decoupled
from paring.distill.dist import Dist
from paring.distill.features import Features
from paring.distill.relational import Relational
from paring.distill.response import Response
from paring.distill.self_attention import SelfAttention
from paring.distill.weighted import Weighted
from paring.engines import open_session
from paring.finetune import Finetune
from paring.measure.metrics import auc, calibration_ratio, poisson_log_loss
from paring.prune.neurons import Neurons
from paring.prune.vocabulary import Vocabulary
from paring.student.shrink import Shrink
from paring.student.use import Use
from paring.studies.teachers import trained
from paring.train import Training

TABLE = Kept("distill", page)
SEEDS = range(5)
Row = dict[str, Any]
Work = Callable[[], Row]
ALONE = Supervised()
STUDENT = (
    Vocabulary(corpus=("calibration",), keep=(0, 100, 101, 102, 103), unknown=100, nearest=True),
    Shrink(width=1.0, depth=0.83),
    Neurons(pruning_ratio=0.66),
)
LAYER = "bert.encoder.layer.{}".format
LAYERS_LEFT = (0, 1, 2, 4, 5)  # of the teacher's, in the student
BETWEEN = Features(tuple((LAYER(own), LAYER(kept)) for own, kept in enumerate(LAYERS_LEFT)))
HINTON = Response(temperature=4.0, alpha=0.9)


def mnist_rows() -> Iterator[tuple[str, Work]]:
    """A convolutional teacher, a fully connected student alone and distilled, at equal epochs."""
    yield "mnist | teacher | 0", lambda: _scored(_mnist(1), _mnist(1).model, epochs=8)
    for copies, epochs in ((1, 3), (4, 4)):
        rows: dict[str, Objective] = {"alone": ALONE, "distilled": HINTON}
        if copies > 1:
            rows |= {"distilled by dist": Dist(), "distilled by dist at 4": Dist(temperature=4.0)}
        for name, objective in rows.items():
            for seed in SEEDS:
                steps = (Use(student="fc"), _finetune(epochs, objective))
                how = f"{epochs} epochs" + (f" of {copies} moved copies" if copies > 1 else "")
                yield f"mnist | student {name}, {how} | {seed}", partial(_trained, _mnist, (copies,), steps, seed)


def objective_rows() -> Iterator[tuple[str, Work]]:
    """Every objective against the student alone: a thin convolutional student, 20,000 images, 4 epochs."""
    inside = {"features": Features(), "attention_transfer": AttentionTransfer(), "relational": Relational()}
    rows: dict[str, Objective] = {
        "alone": ALONE,
        "response": HINTON,
        "decoupled": Decoupled(),
        "dist": Dist(),
        **{f"{name}, no response": Weighted((ALONE, one)) for name, one in inside.items()},
        **{f"response + {name}": Weighted((HINTON, one)) for name, one in inside.items()},
    }
    for seed in range(3):
        for name, objective in rows.items():
            steps = (Use(student="thin"), _finetune(4, objective))
            yield f"objectives | {name} | {seed}", partial(_trained, _mnist, (1, 20_000), steps, seed)


def conversion_rows() -> Iterator[tuple[str, Work]]:
    """Poisson log loss, calibration and AUC of teacher and student, cross-validated."""
    poisson = Response(kind="poisson", alpha=0.9)
    objectives: dict[str, Objective] = {
        "student alone": ALONE,
        "student, response": poisson,
        "student, response and features": Weighted((poisson, Features((("body.3", "body.4"),))), (1.0, 0.05)),
        "student, decoupled": Decoupled(temperature=1.0),
        "student, dist": Dist(),
        "student, response and relational": Weighted((poisson, Relational(angle=0.0)), (1.0, 0.1)),
    }
    for log in LOGS:
        for seed in SEEDS:
            yield f"conversion | {log}: teacher | {seed}", partial(_converted, log, seed, None)
        for name, objective in objectives.items():
            if log != "online-shoppers" and not name.endswith(("alone", "response", "features")):
                continue
            for seed in SEEDS:
                yield f"conversion | {log}: {name} | {seed}", partial(_converted, log, seed, objective)


def text_rows(num_train: int, epochs: int) -> Iterator[tuple[str, Work]]:
    """The 6-layer encoder, and a student of fewer words, with five of its layers and a third of their neurons."""
    yield "text | teacher | 0", lambda: _scored(_text(num_train), _text(num_train).model)
    answers = Response(temperature=2.0)
    rows = (
        ("alone", ALONE),
        ("distilled", answers),
        ("distilled between layers", Weighted((answers, BETWEEN))),
        ("distilled with self_attention", Weighted((answers, SelfAttention()), (1.0, 0.5))),
    )
    for seed in range(2):
        for name, objective in rows:
            steps = (*STUDENT, Finetune(epochs, 2e-4, objective, warmup=0.1, precision="bf16"))
            yield (
                f"text | thin student {name}, {num_train} phrases, {epochs} epochs | {seed}",
                partial(_trained, _text, (num_train,), steps, seed),
            )


def language_rows() -> Iterator[tuple[str, Work]]:
    """A causal model of characters: perplexity of the student alone, and taught token by token."""
    yield "language | teacher | 0", lambda: _scored(_language(), _language().model)
    for name, objective in (("alone", ALONE), ("distilled", Response(temperature=1.0, alpha=0.7))):
        for seed in range(3):
            steps = (Use(student="small"), _finetune(6, objective, 5e-3))
            yield f"language | student {name} | {seed}", partial(_trained, _language, (), steps, seed)


def _finetune(epochs: int, objective: Objective, rate: float = 2e-3) -> Finetune:
    return Finetune(epochs, rate, objective, weight_decay=1e-4, warmup=0.05)


@cache
def _mnist(copies: int, num_train: int | None = None) -> Task:
    return mnist_task(copies=copies, num_train=num_train)


@cache
def _language() -> Task:
    return language_task()


@cache
def _text(num_train: int) -> Task:
    return text_task(num_train)


def _trained(make: Callable[..., Task], arguments: tuple[Any, ...], steps: tuple[Pass, ...], seed: int) -> Row:
    task = replace(make(*arguments), seed=seed)
    started = time.process_time()
    model = rebuild(compress(task, Recipe(steps)), task)
    epochs = next(step.epochs for step in steps if isinstance(step, Finetune))
    return _scored(task, model, epochs=epochs) | {"cpu_s": round(time.process_time() - started, 1)}


def _scored(task: Task, model: nn.Module, epochs: int | None = None) -> Row:
    assert task.test is not None
    test, validation = (task.metric(*outputs_and_targets(task, model, data)) for data in (task.test, task.validation))
    return {"test": test, "validation": validation, "params": num_params(model), "epochs": epochs}


@cache
def _teacher(log: str, seed: int) -> tuple[Task, float]:
    untrained, rate = log_fold(log, seed)
    epochs, rate_of = (20, 2e-3) if log == "online-shoppers" else (6, 1e-3)
    training = Training(epochs=epochs, learning_rate=rate_of, weight_decay=1e-2, warmup=0.05)
    return drain(trained(untrained, training)), rate


def _converted(log: str, seed: int, objective: Objective | None) -> Row:
    task, rate = _teacher(log, seed)
    model = task.model
    if objective is not None:
        epochs = 20 if log == "online-shoppers" else 6
        finetune = Finetune(epochs, 3e-3, objective, weight_decay=1e-2, warmup=0.05)
        model = rebuild(compress(task, Recipe((Use(student="small"), finetune))), task)
    assert task.test is not None
    outputs, targets = outputs_and_targets(task, model, task.test)
    constant = poisson_log_loss(torch.full_like(outputs, rate).log(), targets)
    return {
        "test": poisson_log_loss(outputs, targets),
        "constant": constant,
        "calibration": calibration_ratio(outputs, targets),
        "auc": auc(outputs, targets),
        "params": num_params(model),
        "params_outside_embeddings": outside_embeddings(model),
    }


def timed() -> Row:
    """Latency of the text student's file against its teacher's, interleaved, per engine and precision.

    The student is not trained for it: its shapes are what the clock sees.
    """
    from paring.measure.latency import compare, interleave

    task = _text(2_048)
    feed = {name: value[:1].numpy() for name, value in tensors_of(task.example_inputs).items()}
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / "teacher.onnx", Path(folder) / "student.onnx"]
        for model, path in zip((task.model, rebuild(compress(task, Recipe(STUDENT)), task)), paths, strict=True):
            write_onnx(model, task, path)
        found: Row = {"tokens": int(next(iter(feed.values())).shape[1])}
        for target in (Target("onnxruntime"), Target("openvino", "fp32"), Target("openvino", "bf16")):
            runners = {path.stem: open_session(path, target).prepare(feed) for path in paths}
            ratio = compare(interleave(runners, blocks=30, min_block_ms=5.0), "teacher", "student")
            found[str(target)] = {"speedup": ratio.ratio, "low": ratio.low, "high": ratio.high}
    return found


def main() -> None:
    """Runs what is missing, one row at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", default=["mnist", "objectives", "conversion", "language", "text"])
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--time", action="store_true", help="add the latency row of the text student")
    parser.add_argument("--num-train", type=int, default=32_768, help="phrases of SST-2 to train on")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the text student")
    options = parser.parse_args()
    torch.set_num_threads(1)
    groups = {
        "mnist": mnist_rows,
        "objectives": objective_rows,
        "conversion": conversion_rows,
        "language": language_rows,
    }
    groups["text"] = partial(text_rows, options.num_train, options.epochs)  # type: ignore[assignment]
    rows = TABLE.load()["rows"]
    planned = [row for name in options.groups for row in groups[name]() if options.only in row[0]]
    if options.time:
        planned = [("text | clock | 0", timed)]
    for name, work in planned:
        if options.list:
            print("done" if name in rows else "    ", name)
        elif name not in rows and not options.render:
            started = time.monotonic()
            row = work()
            TABLE.add(row, "rows", name, versions=versions(), machine=machine())
            print(f"{time.monotonic() - started:7.1f} s  {name}  {row.get('test')}", flush=True)
    if options.render:
        TABLE.save(TABLE.load())


if __name__ == "__main__":
    sys.exit(main())
