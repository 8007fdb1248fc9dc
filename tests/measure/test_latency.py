"""Timing on faked clocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from paring.core.measurement import Ratio
from paring.errors import CorruptFileError, SettingError, UnknownNameError
from paring.measure.latency import compare, compare_cpu, interleave, judge, noise_floor, verdict, warm_up
from paring.measure.samples import Samples
from tests.measure.fake_time import FakeTime


def timed(blocks: int = 30, **cost: dict[str, float]) -> tuple[Samples, FakeTime]:
    fake = FakeTime()
    runners = {name: fake.runner(name, **settings) for name, settings in cost.items()}
    return interleave(runners, blocks=blocks, min_block_ms=2, clocks=fake.clocks), fake


def test_each_runner_gets_a_turn_in_every_block_in_an_order_that_changes() -> None:
    samples, fake = timed(blocks=10, a={"us": 200, "noise": 0}, b={"us": 500, "noise": 0})
    assert samples.wall_ns["a"].shape == (10, 10) and samples.wall_ns["b"].shape == (10, 4)
    timed_calls = "".join(fake.calls[-10 * (11 + 5) :])  # one untimed call before each turn
    orders = set()
    for block in range(10):
        part = timed_calls[block * 16 : (block + 1) * 16]
        assert part in ("a" * 11 + "b" * 5, "b" * 5 + "a" * 11)
        orders.add(part)
    assert len(orders) == 2


def test_samples_tell_percentiles_throughput_and_processor_time() -> None:
    samples, _ = timed(a={"us": 200, "cpu_us": 100, "noise": 0})
    assert samples.latency_ms("a") == pytest.approx({"p50": 0.2, "p90": 0.2, "p99": 0.2})
    assert samples.cpu_ms("a") == pytest.approx(0.1)
    assert samples.throughput_per_s("a", batch_size=8) == pytest.approx(40_000)
    assert samples.count("a") == 300
    with pytest.raises(UnknownNameError, match="unknown runner 'b'"):
        samples.latency_ms("b")


def test_a_slower_copy_is_slower_and_the_same_file_is_indistinguishable() -> None:
    samples, _ = timed(base={"us": 300}, again={"us": 300}, slow={"us": 330}, small={"us": 150})
    floor = noise_floor(samples, "base", "again")
    assert 0 < floor < 0.03
    assert compare(samples, "base", "small").ratio == pytest.approx(2, rel=0.03)
    assert verdict(samples, "base", "small", floor) == "faster"
    assert verdict(samples, "base", "slow", floor) == "slower"
    assert verdict(samples, "base", "again", floor) == "indistinguishable"


def test_a_claim_that_the_processor_clock_contradicts_is_not_made_on_one_thread() -> None:
    cost = {"base": {"us": 300.0, "cpu_us": 200.0}, "odd": {"us": 200.0, "cpu_us": 250.0}}
    samples, _ = timed(**cost)
    assert compare(samples, "base", "odd").low > 1.4 and compare_cpu(samples, "base", "odd").high < 0.9
    assert verdict(samples, "base", "odd", 0.02) == "indistinguishable"
    assert verdict(samples, "odd", "base", 0.02) == "indistinguishable"
    on_two = Samples(samples.wall_ns, samples.cpu_ns, threads=2)
    assert verdict(on_two, "base", "odd", 0.02) == "faster"


def test_one_interrupted_call_a_block_moves_no_ratio() -> None:
    samples, _ = timed(base={"us": 300, "noise": 0}, again={"us": 300, "noise": 0})
    hurt = samples.wall_ns["again"].copy()
    hurt[:, 0] *= 50
    spoilt = Samples(samples.wall_ns | {"again": hurt}, samples.cpu_ns)  # type: ignore[operator]
    assert compare(spoilt, "base", "again").ratio == pytest.approx(1)
    assert spoilt.latency_ms("again")["p99"] > 40 * spoilt.latency_ms("again")["p50"]


def test_the_quiet_time_is_that_of_the_fastest_block() -> None:
    samples, _ = timed(blocks=6, a={"us": 200, "noise": 0})
    busy = samples.wall_ns["a"].copy()
    busy[[0, 1, 2, 4, 5]] *= 2
    busy[3, 0] = 1  # one odd call is no block
    disturbed = Samples({"a": busy}, samples.cpu_ns)
    assert disturbed.quiet_ms("a") == pytest.approx(0.2) and disturbed.latency_ms("a")["p50"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1.06, 1.2, "faster"),
        (1.04, 1.2, "indistinguishable"),
        (0.9, 0.96, "indistinguishable"),
        (0.9, 0.94, "slower"),
        (0.9, 1.1, "indistinguishable"),
    ],
)
def test_the_whole_interval_must_lie_beyond_the_floor(low: float, high: float, said: str) -> None:
    assert judge(Ratio((low + high) / 2, low, high), floor=0.05) == said


def test_warming_up_goes_on_while_calls_get_faster() -> None:
    fake = FakeTime()
    costs = iter([900_000] * 5 + [500_000] * 5 + [300_000] * 5)

    def run() -> None:
        fake.calls.append("run")
        fake.wall += next(costs, 100_000)

    assert warm_up(run, window_ms=0.3, clocks=fake.clocks) == 100_000
    assert 20 <= len(fake.calls) <= 30


def test_warming_up_ends_even_if_calls_never_settle() -> None:
    fake = FakeTime()

    def run() -> None:
        fake.calls.append("run")
        fake.wall += max(10**9 - 4 * 10**6 * len(fake.calls), 1)

    warm_up(run, window_ms=1, tolerance=0, max_windows=7, clocks=fake.clocks)
    assert len(fake.calls) == 21


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(SettingError, match="0 runners"):
        interleave({})
    with pytest.raises(SettingError, match="1 blocks"):
        interleave({"a": lambda: None}, blocks=1)


def test_samples_survive_the_disk_and_anything_else_is_refused(tmp_path: Path) -> None:
    samples, _ = timed(blocks=4, **{"a b": {"us": 300}, "ä/ü": {"us": 400}})
    samples.save(tmp_path / "samples.npz")
    loaded = Samples.load(tmp_path / "samples.npz")
    assert loaded.names == samples.names and loaded.threads == 1 and loaded.context == samples.context
    for name in samples.names:
        np.testing.assert_array_equal(loaded.wall_ns[name], samples.wall_ns[name])
        np.testing.assert_array_equal(loaded.cpu_ns[name], samples.cpu_ns[name])
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    for name in ("text.npz", "other.npz", "absent.npz"):
        with pytest.raises(CorruptFileError, match=name):
            Samples.load(tmp_path / name)


def test_real_clocks_give_whole_positive_samples() -> None:
    samples = interleave({"a": lambda: sum(range(2_000))}, blocks=3, min_block_ms=0.2)
    assert samples.wall_ns["a"].shape[0] == 3 and (samples.wall_ns["a"] > 0).all()
    assert (samples.cpu_ns["a"] > 0).all()
