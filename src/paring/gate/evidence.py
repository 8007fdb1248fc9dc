"""What two files show here and now: bytes, interleaved latency, memory, and quality on data or by their manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paring.artifacts.manifest import verify_artifact
from paring.core.metric import Metric
from paring.core.target import Target
from paring.engines import open_session
from paring.engines.inputs import free_inputs
from paring.engines.protocol import Array, Arrays, Shapes
from paring.errors import SettingError, UnknownNameError
from paring.gate.check import Against, Seen
from paring.measure import metrics
from paring.measure.compare import FileTiming, compare_files
from paring.measure.memory import peak_memory_bytes
from paring.measure.quality import quality

TARGET = "target"
KNOWN = {name: value for name, value in vars(metrics).items() if isinstance(value, Metric)}


def evidence(
    old: Path,
    new: Path,
    targets: Sequence[Target],
    *,
    data: Path | None = None,
    metric: str | None = None,
    shapes: Shapes | None = None,
    blocks: int = 40,
    min_block_ms: float = 10.0,
) -> tuple[Seen, Seen, Against]:
    """(old, new, new against old). Checksums of artifact folders are verified first.

    Args:
        data: an .npz with one array for each input and one called `target`, the same rows in each.
        metric: a figure of `paring.measure.metrics`; else the one the manifests name.
    Raises: CorruptFileError, EngineError, SettingError, UnknownNameError.
    """
    manifests = [verify_artifact(path) if path.is_dir() else {} for path in (old, new)]
    told = [manifest.get("measurement") or {} for manifest in manifests]
    files = [path / "model.onnx" if path.is_dir() else path for path in (old, new)]
    inputs, target = (None, None) if data is None else read_data(data)
    shaped = dict(shapes or {})
    if inputs is not None:
        shaped = {name: (targets[0].batch_size, *array.shape[1:]) for name, array in inputs.items()}
    (comparison,) = compare_files(files, targets, shapes=shaped, blocks=blocks, min_block_ms=min_block_ms)
    timings = {row.place: row for row in comparison.best}
    answers = [None if inputs is None else _answers(files[place], timings[place].target, inputs) for place in (0, 1)]
    name = metric or next((str(one["metric_name"]) for one in told if one.get("metric_name")), None)
    against = _against(timings[1], told, answers, target, name)
    seen = [
        _seen(files[place], timings[place], shaped, _metric(answers[place], target, name, told[place]))
        for place in (0, 1)
    ]
    return seen[0], seen[1], against


def read_data(path: Path) -> tuple[dict[str, Array], Array]:
    """(inputs by name, target) of an .npz file. Raises SettingError."""
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError) as error:
        raise SettingError(f"--data {path}: cannot be read as .npz ({type(error).__name__}).") from None
    target = arrays.pop(TARGET, None)
    if target is None or not arrays:
        raise SettingError(
            f"--data {path}: it holds {', '.join(arrays) or 'nothing'}; it must hold inputs and `target`."
        )
    if any(len(array) != len(target) for array in arrays.values()):
        raise SettingError(f"--data {path}: its arrays have different numbers of rows.")
    return arrays, target


def _answers(file: Path, target: Target, inputs: Arrays, rows: int = 64) -> Array:
    session = open_session(file, target)
    known = {name: inputs[name] for name in session.input_names if name in inputs}
    total = len(next(iter(inputs.values())))
    parts = [
        session.run({name: array[first : first + rows] for name, array in known.items()})[0]
        for first in range(0, total, rows)
    ]
    return np.concatenate(parts)


def _seen(file: Path, timing: FileTiming, shapes: Shapes, metric: float | None) -> Seen:
    session = open_session(file, timing.target)
    inputs = free_inputs(file, session.inputs, timing.target.batch_size, shapes)
    return Seen(
        file.stat().st_size,
        timing.latency_ms,
        timing.throughput_per_s,
        str(timing.target),
        peak_memory_bytes(file, timing.target, inputs),
        metric,
    )


def _metric(answers: Array | None, target: Array | None, name: str | None, told: Mapping[str, Any]) -> float | None:
    if answers is not None and target is not None and name is not None:
        return _figure(name)(*_tensors(answers, target))
    value = told.get("metric")
    return None if value is None else float(value)


def _against(
    timing: FileTiming,
    told: Sequence[Mapping[str, Any]],
    answers: Sequence[Array | None],
    target: Array | None,
    name: str | None,
) -> Against:
    speedup = (timing.ratio.ratio, timing.ratio.low, timing.ratio.high)
    if answers[0] is not None and answers[1] is not None and target is not None:
        if name is None:
            raise SettingError("--data: no manifest names a metric; give --metric, for example accuracy.")
        before, targets = _tensors(answers[0], target)
        found = quality(_figure(name), before, _tensors(answers[1], target)[0], targets, split="data")
        return Against(speedup, found.drop, found.drop_interval, f"{len(target)} examples, paired, both files run here")
    old, new = told
    same = ("metric_name", "split", "num_examples")
    if all(key in old and old.get(key) == new.get(key) for key in same) and old["metric_name"] in KNOWN:
        drop = _figure(old["metric_name"]).drop(old["metric"], new["metric"])
        return Against(
            speedup, drop, None, f"the manifests, {old['num_examples']} examples of {old['split']}, unpaired"
        )
    return Against(speedup)


def _figure(name: str) -> Metric:
    if name not in KNOWN:
        raise UnknownNameError("metric", name, KNOWN, "--metric")
    return KNOWN[name]


def _tensors(answers: Array, target: Array) -> tuple[Any, Any]:
    import torch

    return torch.from_numpy(answers), torch.from_numpy(target)
