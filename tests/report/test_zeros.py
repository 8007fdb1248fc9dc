"""The table of what zeros would save."""

from __future__ import annotations

import torch

from paring.numerics.footprint import footprint
from paring.report.detail import Detail
from paring.report.layers import Layer
from paring.report.page import page
from paring.report.zeros import zeros_tables
from tests.report.runs import made_up, measured


def detail(sparsity: float) -> Detail:
    W_OI = torch.ones(64, 100)
    W_OI[:, : int(100 * sparsity)] = 0
    nonzeros = int(W_OI.count_nonzero())
    layer = Layer("fc", ((64, 100),), ((64, 100),), ("masked",), sparsity, nonzeros, "32", "", 25600, 25600,
                  storage=(footprint(W_OI),))  # fmt: skip
    return Detail("passes:\n- prune.magnitude\n", (layer,))


def test_sparse_layers_are_listed_with_their_csr_bytes() -> None:
    run = made_up(measured("sparse"), details={"sparse": detail(0.9)})
    text = str(zeros_tables(run))
    csr = 640 * 8 + 65 * 4
    assert f"{csr / 1000:.2f} kB" in text and "50" in text and "10.0" in text
    assert "What the zeros would save" in page(run)


def test_dense_models_have_no_such_table() -> None:
    run = made_up(measured("dense"), details={"dense": detail(0.0)})
    assert zeros_tables(run) is None and "What the zeros would save" not in page(run)
