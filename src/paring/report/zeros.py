"""What zeros would save: dense, CSR and entropy bytes of every layer that has them."""

from __future__ import annotations

from paring.report.detail import Detail
from paring.report.html import Html, join, tag
from paring.report.layers import Layer
from paring.report.results import Run
from paring.report.tables import Cell, table
from paring.report.words import percent, scaled

FEW = 0.05  # below this share of zeros there is nothing to tell
HEADS = [
    ("layer", True), ("shape", True), ("sparsity", False), ("non-zeros", False), ("weights", False), ("dense", False),
    ("factor by non-zeros", False), ("CSR with indices", False), ("CSR pays above", False), ("at its entropy", False),
]  # fmt: skip
LEAD = (
    "Zeros make no standard file smaller and no engine faster by themselves: this is what a sparse format or an "
    "entropy coder would make of them. CSR needs a 4-byte column beside every value, so below the sparsity stated it "
    "is larger than the dense weight."
)


def zeros_tables(run: Run) -> Html | None:
    """One folding table for each candidate with sparse weights; None where there is none."""
    folds = [_fold(one.name, run.details[one.name]) for one in run.candidates if _sparse(run.details.get(one.name))]
    return join(tag("p", LEAD, class_="lead"), *folds) if folds else None


def _sparse(detail: Detail | None) -> list[Layer]:
    layers = () if detail is None else detail.layers
    return [layer for layer in layers if layer.sparsity is not None and layer.sparsity >= FEW and layer.storage]


def _fold(name: str, detail: Detail) -> Html:
    layers = _sparse(detail)
    dense, csr, coded = (
        sum(getattr(one, kind) for layer in layers for one in layer.storage)
        for kind in ("dense_bytes", "csr_bytes", "entropy_bytes")
    )
    said = f"{scaled(dense, 'B')} dense, {scaled(csr, 'B')} as CSR, {scaled(coded, 'B')} at the entropy"
    summary = tag("summary", tag("span", name, class_="who"), tag("span", said, class_="soft"))
    return tag("details", summary, table(f"Zeros of {name}", HEADS, [("", _cells(layer)) for layer in layers]))


def _cells(layer: Layer) -> list[Cell]:
    total, nonzeros = (sum(getattr(one, kind) for one in layer.storage) for kind in ("total", "nonzeros"))
    dense, csr, coded = (
        sum(getattr(one, kind) for one in layer.storage) for kind in ("dense_bytes", "csr_bytes", "entropy_bytes")
    )
    pays = sum(one.break_even * one.total for one in layer.storage) / max(total, 1)
    shapes = " + ".join("×".join(map(str, shape)) for shape in layer.after)
    return [
        Cell(layer.name or "(the model itself)", layer.name, True),
        Cell(shapes, None, True),
        Cell(percent(1 - nonzeros / total), 1 - nonzeros / total),
        Cell(f"{nonzeros:,}", nonzeros),
        Cell(f"{total:,}", total),
        Cell(scaled(dense, "B"), dense),
        Cell(f"{total / max(nonzeros, 1):.1f}", total / max(nonzeros, 1)),
        Cell(scaled(csr, "B"), csr),
        Cell(percent(pays), pays),
        Cell(scaled(coded, "B"), coded),
    ]
