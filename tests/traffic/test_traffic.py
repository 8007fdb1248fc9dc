"""An open-loop client against a real server: what it counts, and from when."""

from __future__ import annotations

import asyncio
import json
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from paring.errors import EngineError, SettingError
from paring.traffic.client import Pool, closed_loop, run_rung
from paring.traffic.figure import figure
from paring.traffic.ladder import climb, holds
from paring.traffic.plan import Outcome, arrivals, rung
from paring.traffic.target import address_of, request_for
from tests.cli.calls import paring_in
from tests.serve.models import Served, linear, lookup, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with serving("secret", linear=linear(folder / "linear.onnx"), lookup=lookup(folder / "lookup.onnx")) as served:
        yield served


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(1000.0, 20.0, seed=1)
    gaps = np.diff(times)
    assert len(times) == pytest.approx(20_000, abs=5 * 20_000**0.5)
    assert gaps.mean() == pytest.approx(1e-3, rel=0.03) and gaps.std() == pytest.approx(1e-3, rel=0.05)
    assert (times >= 0).all() and (times < 20).all()
    np.testing.assert_array_equal(times, arrivals(1000.0, 20.0, seed=1))
    with pytest.raises(SettingError, match="both must be above 0"):
        arrivals(0.0, 1.0)


def test_a_rung_counts_by_what_was_answered() -> None:
    outcomes = [Outcome(0.1, ms, 200) for ms in range(1, 101)] + [Outcome(0.1, 2.0, 503)] * 4 + [Outcome(0.1, 9.0, 0)]
    found = rung(50.0, 2.0, outcomes, [0.0, 0.001], 4.0)
    assert (found.sent, found.accepted, found.refused, found.failed) == (105, 100, 4, 1)
    assert found.latency_ms["p50"] == pytest.approx(50.5) and found.refusal_ms == 2.0
    assert found.answers_per_s == 25.0
    assert not holds(found, 1000.0, "p99")  # five of 105 were not accepted
    assert holds(rung(50.0, 2.0, outcomes[:100], [], 2.0), 99.5, "p99")
    assert not holds(rung(50.0, 2.0, outcomes[:100], [], 2.0), 98.0, "p99")


def test_every_request_is_answered_and_counted(server: Served) -> None:
    address = address_of(f"{server.url}/v2/models/linear", "secret")
    found = run_rung(address, request_for(address, {}), 200.0, 0.5)
    assert found.sent == found.accepted == len(arrivals(200.0, 0.5))
    assert closed_loop(address, request_for(address, {"x": (4, 3)}), 4, 0.3) > 0


def test_refusals_are_told_from_answers(tmp_path: Path) -> None:
    tight = {"max_queue": 1, "max_rows": 1, "max_batch": 1}
    with serving(limits=tight, lookup=lookup(tmp_path / "lookup.onnx")) as server:
        address = address_of(server.url)
        found = run_rung(address, request_for(address, {"ids": (1, 512), "mask": (1, 512)}), 4000.0, 0.25)
    assert found.refused > 0 and found.failed == 0
    assert found.accepted + found.refused == found.sent


def test_a_server_that_is_gone_is_a_failure_not_a_hang(tmp_path: Path) -> None:
    with serving(linear=linear(tmp_path / "linear.onnx")) as server:
        address = address_of(server.url)
        request = request_for(address, {})
    found = run_rung(address, request, 50.0, 0.2)
    assert found.failed == found.sent > 0


def test_a_ladder_and_its_figure(server: Served) -> None:
    address = address_of(f"{server.url}/v2/models/linear", "secret")
    asked = request_for(address, {})
    found = climb(address, asked, seconds=0.1, steps=(0.3, 0.5), limit_ms=10_000.0, rounds=1, clients=4)
    assert len(found.rungs) == 3 and found.highest_per_s is not None
    drawn = ElementTree.fromstring(figure([found, found]))
    lines = [part for part in drawn.iter() if part.tag.endswith("polyline")]
    assert len(lines) == 4 and all(len(line.attrib["points"].split()) == 3 for line in lines)


def test_on_the_command_line(server: Served, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    options = ("--token-file", "token", "--seconds", "0.05", "--clients", "2", "--json", "--out", "loaded")
    call = paring_in(tmp_path, "load", f"{server.url}/v2/models/linear", *options)
    assert call.code == 0
    assert [row["model"] for row in json.loads(call.out)] == ["linear"]
    assert json.loads((tmp_path / "loaded/load.json").read_text()) == json.loads(call.out)
    ElementTree.parse(tmp_path / "loaded/load.svg")


def test_mistakes(server: Served, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="serves linear, lookup"):
        address_of(server.url, "secret")
    with pytest.raises(EngineError, match="it answers 401"):
        address_of(server.url)
    with pytest.raises(EngineError, match="no server of the Open Inference Protocol"):
        address_of("http://127.0.0.1:9")
    with pytest.raises(SettingError, match="is no address"):
        address_of("ftp://127.0.0.1")
    address = address_of(f"{server.url}/v2/models/linear", "secret")
    with pytest.raises(SettingError, match="has no input 'z'; it takes x"):
        request_for(address, {"z": (1,)})
    call = paring_in(tmp_path, "load", "file.onnx", server.url)
    assert call.code == 2 and "Load files and addresses apart" in call.only_line


def test_a_connection_that_the_server_gave_up_is_no_answer(tmp_path: Path) -> None:
    with serving(limits={"head_timeout_s": 0.05}, linear=linear(tmp_path / "linear.onnx")) as server:
        address = address_of(server.url)

        async def asked() -> list[int]:
            pool = Pool(address, request_for(address, {}), time.perf_counter())
            await pool.warm(2)
            await asyncio.sleep(0.3)  # the server says 408 to both
            pool.fire(0.3)
            while not pool.outcomes:
                await asyncio.sleep(0.01)
            await pool.close()
            return [one.status for one in pool.outcomes]

        assert asyncio.run(asked()) == [200]
