"""Judges one candidate by its exported file: parity, quality and the clock."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from paring.artifacts.onnx import write_onnx
from paring.artifacts.verify import check_parity
from paring.candidates import rebuild
from paring.container.file import pack
from paring.core.candidate import Candidate
from paring.core.edit import Progress
from paring.core.measurement import Measurement, Quality, Ratio, TargetTiming
from paring.core.target import Target
from paring.core.task import Inputs, Task
from paring.engines import Session, open_session
from paring.errors import EngineError, ExportError, ParityError, TaskError
from paring.judge.bench import Bench, timed_inputs
from paring.judge.evidence import evidence
from paring.judge.record import CODED, MODEL, NODES, SAMPLES, Judged, save_measurement
from paring.measure.canary import CANARY, canary
from paring.measure.eager import as_inputs, eager_session
from paring.measure.latency import Runner, compare, noise_floor, verdict
from paring.measure.lives import interleave_anew
from paring.measure.macs import macs, num_params
from paring.measure.quality import file_inputs, file_outputs, outputs_side_by_side, quality
from paring.measure.samples import Samples
from paring.measure.slices import train_gap, training_examples
from paring.settings import changed_settings

BASE, AGAIN, EAGER = "baseline", "baseline again", "eager baseline"
NUM_STAGES = 5
Answers = Mapping[Target, tuple[Tensor, Tensor]]


def judge(
    candidate: Candidate, task: Task, folder: Path, bench: Bench, baseline: Judged | None = None
) -> Generator[Progress, None, Measurement]:
    """Exports `candidate` into `folder`, checks and measures the file. Without `baseline` it is its own.

    Writes model.onnx, nodes.json, samples.npz and measurement.json. A Target on which the file does not compute what
    the model computes is refused and listed. Quality is on `validation`; `headline` looks at `test`.
    Raises: ParityError if every Target refuses the file.
    """
    path, model = folder / MODEL, rebuild(candidate, task)
    yield Progress(0, NUM_STAGES, "exporting")
    (folder / NODES).write_text(json.dumps(write_onnx(model, task, path)), encoding="utf-8")
    coded_bytes = _coded(path, folder / CODED)
    yield Progress(1, NUM_STAGES, "checking the file against the model")
    parity, refused = _parity(path, model, task, bench)
    yield Progress(2, NUM_STAGES, "quality of the file")
    before, answers = _answers(path, tuple(parity), task, baseline)
    yield Progress(3, NUM_STAGES, "timing the file, interleaved with the baseline")
    example = timed_inputs(task, bench.batch_size)
    reference = _reference(baseline, path, tuple(parity), bench, example)
    openers = _openers(path, tuple(parity), example) | _baseline_openers(reference, task, bench, example)
    if "torch" in bench.engines:
        openers["torch fp32"] = partial(_eager_runner, task, model, bench, example)
    openers[CANARY] = canary
    samples = interleave_anew(openers, blocks=bench.blocks, min_block_ms=bench.min_block_ms, threads=bench.threads)
    samples.save(folder / SAMPLES)
    best = _fastest(samples, tuple(parity))
    yield Progress(4, NUM_STAGES, "memory of a fresh process")
    outputs, targets = answers[best]
    before = outputs if before is None else before
    floor = noise_floor(samples, BASE, AGAIN)
    behind = evidence(path, best, file_inputs(open_session(path, best), example), samples, bench)
    measurement = Measurement(
        name=candidate.name,
        recipe=tuple(_words(step.name, changed_settings(step)) for step in candidate.recipe.passes),
        metric_name=task.metric.name,
        quality=_quality(task, before, outputs, targets, "validation"),
        num_params=num_params(model),
        macs=macs(model, task.example_inputs),
        file_bytes=path.stat().st_size,
        coded_bytes=coded_bytes,
        target=best,
        latency_ms=samples.latency_ms(str(best)),
        throughput_per_s=samples.throughput_per_s(str(best), bench.batch_size),
        speedup=Ratio(1.0, 1.0, 1.0) if baseline is None else compare(samples, BASE, str(best)),
        speedup_eager=compare(samples, EAGER, str(best)) if EAGER in samples.names else None,
        verdict="baseline" if baseline is None else verdict(samples, BASE, str(best), floor),
        noise_floor=floor,
        targets=tuple(_timing(samples, target, task, before, answers, parity) for target in _timed(samples, parity)),
        refused=refused,
        peak_memory_bytes=behind.memory.peak_bytes,
        roofline_multiple=None if behind.floor is None else behind.floor.multiple,
        memory=behind.memory,
        roofline=behind.floor,
        throughput=behind.throughput,
        drift=behind.drift,
    )
    save_measurement(measurement, folder)
    return measurement


def _coded(path: Path, target: Path) -> int | None:
    """Bytes of the entropy-coded file; None where weights that hold nothing forbid one."""
    try:
        return pack(path, target).coded_bytes
    except ExportError:
        return None


def headline(judged: Judged, baseline: Judged, task: Task) -> Measurement:
    """The measurement with its one look at `test` (at `validation`, and said so, where the task has no test).

    Beside it, how much better the file is on training data, of which as many examples are read as of validation's.
    """
    split, data = task.headline()
    shown = training_examples(task, judged.measurement.quality.num_examples)
    files = (judged, baseline) if baseline.model != judged.model else (judged,)
    with ThreadPoolExecutor(1) as aside:
        learned = aside.submit(file_outputs, _opened(judged), shown) if shown else None
        outputs, targets = outputs_side_by_side([_opened(one) for one in files], data)
    seen = _quality(task, outputs[-1], outputs[0], targets, split)
    gap = None if learned is None else train_gap(task, *learned.result(), seen.metric)
    return replace(judged.measurement, headline=replace(seen, train_gap=gap))


def _quality(task: Task, before: Tensor, after: Tensor, targets: Tensor, split: str) -> Quality:
    """`quality` with the task's metric. Raises TaskError for a figure that is no number: no budget can judge it."""
    seen = quality(task.metric, before, after, targets, split=split, seed=task.seed)
    if not math.isfinite(seen.drop):
        raise TaskError(
            f"metric {task.metric.name}: it is {seen.metric} on the {seen.num_examples} examples of {split}, a drop of "
            f"{seen.drop}. Give it examples that it can score."
        )
    return seen


@dataclass(frozen=True)
class _Reference:
    """The baseline's file on the Target where it is fastest: what every candidate is timed against."""

    path: Path
    target: Target


def _parity(path: Path, model: nn.Module, task: Task, bench: Bench) -> tuple[dict[Target, float], dict[str, str]]:
    """The parity error per Target that computes what the model computes, and the reason per Target that does not."""
    errors: dict[Target, float] = {}
    refused: dict[str, str] = {}
    for target in bench.targets():
        try:
            open_session(path, target)
            session = open_session(path, replace(target, precision="fp32"), exact=True)
            errors[target] = check_parity(session, model, task, where=f"the file in {target}")
        except (EngineError, ParityError) as error:
            refused[str(target)] = str(error)
    if not errors:
        raise ParityError(f"{next(iter(refused.values()))} The file was not kept.")
    return errors, refused


def _reference(
    baseline: Judged | None, path: Path, targets: tuple[Target, ...], bench: Bench, example: Inputs
) -> _Reference:
    if baseline is not None:
        return _Reference(baseline.model, baseline.measurement.target)
    openers, blocks = _openers(path, targets, example), max(4, bench.blocks // 4)
    first = interleave_anew(openers, blocks=blocks, min_block_ms=bench.min_block_ms, threads=bench.threads)
    return _Reference(path, _fastest(first, targets))


def _openers(path: Path, targets: tuple[Target, ...], example: Inputs) -> dict[str, Callable[[], Runner]]:
    return {str(target): partial(timed_runner, path, target, example) for target in targets}


def _baseline_openers(
    reference: _Reference, task: Task, bench: Bench, example: Inputs
) -> dict[str, Callable[[], Runner]]:
    opener = partial(timed_runner, reference.path, reference.target, example)
    openers: dict[str, Callable[[], Runner]] = {BASE: opener, AGAIN: opener}
    if "torch" in bench.engines:
        openers[EAGER] = partial(_eager_runner, task, copy.deepcopy(task.model), bench, example)
    return openers


def timed_runner(path: Path, target: Target, example: Inputs) -> Runner:
    """One call of the file on these inputs, prepared. Raises EngineError."""
    session: Session = open_session(path, target)
    inputs = file_inputs(session, example)
    if target.static_shapes:
        session = open_session(path, target, static={name: array.shape for name, array in inputs.items()})
    return session.prepare(inputs)


def _eager_runner(task: Task, model: nn.Module, bench: Bench, example: Inputs) -> Runner:
    return eager_session(task, model, threads=bench.threads).prepare(as_inputs(example))


def _fastest(samples: Samples, targets: tuple[Target, ...]) -> Target:
    return min(targets, key=lambda target: (samples.latency_ms(str(target))["p50"], str(target)))


def _answers(
    path: Path, targets: tuple[Target, ...], task: Task, baseline: Judged | None
) -> tuple[Tensor | None, Answers]:
    """What the baseline's file answers on `validation`, if there is one, and what the file does on each Target."""
    files = [open_session(path, target) for target in targets]
    first = [] if baseline is None else [_opened(baseline)]
    outputs, wanted = outputs_side_by_side([*first, *files], task.validation)
    own = outputs[len(first) :]
    return outputs[0] if first else None, {one: (seen, wanted) for one, seen in zip(targets, own, strict=True)}


def _opened(judged: Judged) -> Session:
    return open_session(judged.model, judged.measurement.target)


def _timed(samples: Samples, parity: Mapping[Target, float]) -> tuple[Target, ...]:
    first = next(iter(parity))
    eager = Target("torch", "fp32", first.threads, first.batch_size)
    return (*parity, eager) if str(eager) in samples.names else tuple(parity)


def _timing(
    samples: Samples, target: Target, task: Task, before: Tensor, answers: Answers, parity: Mapping[Target, float]
) -> TargetTiming:
    name, metric, drop = str(target), None, None
    if target in answers:
        outputs, targets = answers[target]
        metric = task.metric(outputs, targets)
        drop = task.metric.drop(task.metric(before, targets), metric)
    rate = samples.throughput_per_s(name, target.batch_size)
    return TargetTiming(target, samples.latency_ms(name), rate, samples.cpu_ms(name), metric, drop, parity.get(target))


def _words(name: str, settings: Mapping[str, Any]) -> str:
    """A step as it reads in a table: `prune.channels {pruning_ratio: 0.5}`."""
    inner = ", ".join(f"{key}: {_value(value)}" for key, value in settings.items())
    return f"{name} {{{inner}}}" if inner else name


def _value(value: object) -> str:
    return json.dumps(value).replace('"', "") if isinstance(value, dict | list) else str(value)
