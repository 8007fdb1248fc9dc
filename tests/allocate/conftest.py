"""Tables of the test's own, and a clock that counts work instead of time, so that no test depends on the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import paring.allocate.table
from paring.clock.chain import macs
from paring.clock.costs import Cost

SPEED = {"float": 1e-6, "int8": 3e-7, "stored8": 1e-6, "stored4": 1e-6}  # ms for each multiplication


def planted_ms(wanted: Any, target: Any) -> dict[Cost, float]:
    """Milliseconds that are the work times a speed of the kind."""
    return {one: macs(one.chain, one.shape) * SPEED[one.kind] for one in wanted}


@pytest.fixture(autouse=True)
def own_clock(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(paring.allocate.table, "costs_ms", planted_ms)
    return folder
