"""One server over small files, shared by the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serve.models import Served, linear, lookup, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    small = {"max_body_bytes": 100_000, "head_timeout_s": 0.5, "max_head_bytes": 8_000, "max_length": 64}
    files = {"linear": linear(folder / "linear.onnx"), "lookup": lookup(folder / "lookup.onnx")}
    with serving(limits=small, **files) as served:
        yield served
