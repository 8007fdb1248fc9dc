"""Storage of sparse weights, against scipy's own CSR."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from paring.numerics.footprint import footprint


@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=st.integers(1, 9), width=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_csr_bytes_are_scipys(rows: int, width: int, share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    W_OI = torch.randn(rows, width, generator=generator) * (torch.rand(rows, width, generator=generator) < share)
    found, theirs = footprint(W_OI), csr_array(W_OI.numpy())
    assert found.nonzeros == theirs.nnz
    assert found.csr_bytes == theirs.data.nbytes + theirs.indices.nbytes + theirs.indptr.nbytes
    assert found.dense_bytes == 4 * rows * width


def test_where_csr_meets_dense() -> None:
    for sparsity in (0.0, 0.4, 0.6, 0.9):
        W_OI = torch.ones(100, 1000)
        W_OI[:, : int(1000 * sparsity)] = 0
        found = footprint(W_OI)
        assert (found.csr_bytes < found.dense_bytes) == (sparsity > found.break_even)
        assert found.factor == pytest.approx(1 / (1 - sparsity), rel=1e-6) and found.sparsity == pytest.approx(sparsity)
    assert footprint(torch.ones(100, 1000)).break_even == pytest.approx(0.5, abs=0.01)
    assert footprint(torch.ones(100, 1000, dtype=torch.int8)).break_even == pytest.approx(0.8, abs=0.01)


def test_entropy_of_places_and_of_symbols() -> None:
    half = torch.tensor([[1.5, 0.0] * 64])
    assert footprint(half).entropy_bytes == 128 // 8 + 64 * 4  # a bit a place, and the values whole
    symbols = torch.tensor([[0, 1, 2, 3] * 32], dtype=torch.int8)
    assert footprint(symbols).entropy_bytes == 128 * 2 // 8
    assert footprint(torch.zeros(4, 4)).entropy_bytes == 0
