"""Looks at what training and pruning did: per-epoch curves, and per-layer zeros with what they would save."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from paring.core.edit import Progress
from paring.studies.sheets import Looked, Sheet
from paring.studies.study import Judgement

FEW = 0.05  # below this share of zeros there is nothing to tell
EPOCHS = (("name", "row"), ("step", "step"), ("epoch", "epoch"), ("loss", "loss"), ("metric", "metric on validation"))
EPOCHS_NOTE = "Every epoch of every training in these recipes: mean loss over its batches, then the metric."
ZEROS = (
    ("name", "row"), ("layer", "layer"), ("weights", "weights"), ("nonzeros", "non-zeros"), ("sparsity", "sparsity"),
    ("factor", "factor by non-zeros"), ("dense", "dense bytes"), ("csr", "CSR bytes"),
    ("values", "CSR values alone, bytes"),
)  # fmt: skip
ZEROS_NOTE = (
    "CSR here holds a 4-byte column beside every value, and row starts. The source estimates CSR by its values alone, "
    "without the indices: that figure stands last, and it is the factor by non-zeros in other words."
)
WAYS = (
    ("name", "row"), ("metric", "metric"), ("drop", "drop"), ("params", "parameters"), ("file", "file, times smaller"),
    ("coded", "coded, times smaller than the file"), ("speedup", "times as fast"),
)  # fmt: skip
WAYS_NOTE = (
    "Zero pruning leaves the file as it is and pays when it is coded; activation and redundancy pruning take channels "
    "out, so the file shrinks at once."
)


def epochs(judgement: Judgement) -> Generator[Progress, None, Looked]:
    """Loss and metric of every epoch, row by row."""
    yield Progress(0, 1, "curves")
    rows = []
    for name, one in judgement.measured.items():
        detail = judgement.run.details.get(one.name)
        for epoch in () if detail is None else detail.history:
            said = {"step": epoch.step, "epoch": epoch.epoch, "loss": epoch.loss, "metric": epoch.metric}
            rows.append({"name": name, **said})
    part = _part(judgement)
    return Looked((Sheet(f"{part} epochs", f"{part}: every epoch", EPOCHS_NOTE, EPOCHS, tuple(rows)),))


def zeros(judgement: Judgement) -> Generator[Progress, None, Looked]:
    """Layer by layer, and in total, for each row that has zeros."""
    yield Progress(0, 1, "zeros")
    rows: list[dict[str, Any]] = []
    for name, one in judgement.measured.items():
        detail = judgement.run.details.get(one.name)
        layers = () if detail is None else detail.layers
        found = [
            layer for layer in layers if layer.storage and layer.storage[0].dense_bytes == 4 * layer.storage[0].total
        ]
        lines = [_line(name, layer.name, layer.storage) for layer in found]
        whole = _line(name, "all", [one for layer in found for one in layer.storage])
        if lines and whole["sparsity"] >= FEW:
            rows += [*lines, whole]
    part = _part(judgement)
    return Looked((Sheet(f"{part} zeros", f"{part}: zeros, layer by layer", ZEROS_NOTE, ZEROS, tuple(rows)),))


def ways(names: tuple[str, ...], judgement: Judgement) -> Generator[Progress, None, Looked]:
    """The rows `names`, side by side."""
    yield Progress(0, 1, "ways to prune")
    base, rows = judgement.run.baseline, []
    for name in names:
        one = judgement.measured[name]
        seen = one.headline or one.quality
        rows.append(
            {"name": name, "metric": seen.metric, "drop": seen.drop, "params": one.num_params,
             "file": base.file_bytes / one.file_bytes,
             "coded": None if one.coded_bytes is None else base.file_bytes / one.coded_bytes,
             "speedup": [one.speedup.ratio, one.speedup.low, one.speedup.high]}
        )  # fmt: skip
    part = _part(judgement)
    return Looked((Sheet(f"{part} ways", f"{part}: three ways to prune", WAYS_NOTE, WAYS, tuple(rows)),))


def _line(name: str, layer: str, storage: Any) -> dict[str, Any]:
    total, nonzeros, dense, csr = (
        sum(getattr(one, kind) for one in storage) for kind in ("total", "nonzeros", "dense_bytes", "csr_bytes")
    )
    return {
        "name": name, "layer": layer, "weights": total, "nonzeros": nonzeros,
        "sparsity": 1 - nonzeros / total if total else 0.0, "factor": total / max(nonzeros, 1), "dense": dense,
        "csr": csr, "values": 4 * nonzeros,
    }  # fmt: skip


def _part(judgement: Judgement) -> str:
    return judgement.folder.path.name.replace("-", " ")
