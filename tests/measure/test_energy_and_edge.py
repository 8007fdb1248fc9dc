"""A planted power counter, and a memory cap that a real allocation meets."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from paring.errors import EngineError
from paring.measure.edge import edge
from paring.measure.energy import Energy, cost_per_million, energy_of

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and cores as Linux has them")


def zone(folder: Path, name: str, joules: float, limit: float = 100.0) -> Path:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{int(joules * 1e6)}\n")
    (folder / name / "max_energy_range_uj").write_text(f"{int(limit * 1e6)}\n")
    return folder / name


def test_packages_add_up_wrap_around_and_parts_of_packages_do_not_count(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 10)
    zone(tmp_path, "intel-rapl:1", 99)
    zone(tmp_path, "intel-rapl:0:0", 5)

    def work() -> None:
        zone(tmp_path, "intel-rapl:0", 12.5)
        zone(tmp_path, "intel-rapl:1", 3)  # past its limit of 100 J
        zone(tmp_path, "intel-rapl:0:0", 50)

    assert energy_of(work, tmp_path).joules == pytest.approx(2.5 + 4)


def test_without_a_counter_the_work_is_done_and_the_reason_told(tmp_path: Path) -> None:
    done: list[int] = []
    seen = energy_of(lambda: done.append(1), tmp_path / "absent")
    assert done == [1] and seen.joules is None
    assert str(seen) == "not measurable here (the system shows no RAPL counter)"


def test_a_counter_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (zone(tmp_path, "intel-rapl:0", 1) / "energy_uj").write_text("")
    assert str(energy_of(lambda: None, tmp_path)).endswith("intel-rapl:0/energy_uj cannot be read; root can)")
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert energy_of(lambda: None, tmp_path).joules is None


def test_energy_reads_in_joules() -> None:
    assert str(Energy(1.234)) == "1.23 J"


def test_a_million_predictions_of_36_ms_are_ten_core_hours() -> None:
    assert cost_per_million(36.0, 0.05) == pytest.approx(10 * 0.05)


@linux_only
def test_the_edge_is_one_core_and_a_cap_and_both_end_with_it() -> None:
    cores, limits = os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_DATA)
    with edge(256_000_000):
        assert len(os.sched_getaffinity(0)) == 1
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] > 256_000_000
        assert np.ones(1_000_000).sum() == 1_000_000
    assert (os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_DATA)) == (cores, limits)


@linux_only
def test_more_memory_than_the_cap_is_one_line_and_the_cap_is_lifted() -> None:
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(EngineError, match=r"out of memory: the edge profile allows 50,000,000 bytes"), edge(50_000_000):
        np.ones(100_000_000)
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits
    assert np.ones(20_000_000).nbytes == 160_000_000


@linux_only
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("onnxruntime: std::bad_alloc"), "out of memory"),
        (RuntimeError("bfc_arena: Failed to allocate memory"), "out of memory"),
        (RuntimeError("something else"), "^something else$"),
    ],
)
def test_an_engine_s_own_words_for_no_memory_are_understood(raised: Exception, told: str) -> None:
    with pytest.raises(RuntimeError, match=told), edge(1_000_000_000):
        raise raised
