"""One real run of a tiny net, shared by the tests that read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from paring.report.results import Run
from tests.report.runs import really_run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """The run and its folder."""
    out = tmp_path_factory.mktemp("tiny") / "out"
    return really_run(out), out
