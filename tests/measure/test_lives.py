"""Files opened anew: what differs from opening to opening must not pass for a difference between files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from paring.errors import SettingError
from paring.measure.canary import CANARY, DRIFT, canary, drift
from paring.measure.latency import Runner, compare, noise_floor, verdict
from paring.measure.lives import interleave_anew
from paring.measure.samples import Samples
from tests.measure.fake_time import FakeTime


def openers(fake: FakeTime, **costs: list[float]) -> tuple[dict[str, Callable[[], Runner]], list[str]]:
    """Name -> opens a runner that costs the next of its microseconds, beginning anew; and the order of openings."""
    opened: list[str] = []

    def opener(name: str) -> Callable[[], Runner]:
        def open_it() -> Runner:
            life = opened.count(name)
            opened.append(name)
            return fake.runner(name, costs[name][life % len(costs[name])])

        return open_it

    return {name: opener(name) for name in costs}, opened


def timed(blocks: int = 40, lives: int = 4, **costs: list[float]) -> tuple[Samples, list[str]]:
    fake = FakeTime()
    made, opened = openers(fake, **costs)
    samples = interleave_anew(made, lives=lives, blocks=blocks, min_block_ms=2, clocks=fake.clocks)
    return samples, opened


def test_every_file_is_opened_once_a_life_in_an_order_that_changes() -> None:
    samples, opened = timed(a=[200], b=[300], c=[400])
    assert samples.lives == 4 and samples.names == ("a", "b", "c")
    assert samples.blocks("a").shape == (40,)
    orders = {tuple(opened[3 * life : 3 * life + 3]) for life in range(4)}
    assert all(sorted(order) == ["a", "b", "c"] for order in orders) and len(orders) > 1


def test_blocks_of_a_life_hold_what_that_opening_cost() -> None:
    samples, _ = timed(a=[200, 400, 200, 800])
    by_life = np.median(samples.blocks("a").reshape(4, 10), axis=1) / 1_000
    assert by_life == pytest.approx([200, 400, 200, 800], rel=0.02)


def test_a_file_whose_speed_differs_from_life_to_life_is_not_called_faster() -> None:
    samples, _ = timed(blocks=60, base=[300], again=[300], moody=[200, 320, 200, 200])
    floor = noise_floor(samples, "base", "again")
    ratio = compare(samples, "base", "moody")
    assert ratio.ratio > 1.4 and ratio.low < 1  # faster in three lives of four, and yet
    assert verdict(samples, "base", "moody", floor) == "indistinguishable"
    as_one_life = Samples(samples.wall_ns, samples.cpu_ns)
    assert verdict(as_one_life, "base", "moody", floor) == "faster"  # what blocks alone would have claimed


def test_a_difference_that_every_life_shows_is_told() -> None:
    samples, _ = timed(base=[300, 310, 290, 300], again=[300, 310, 290, 300], quick=[150, 160, 150, 140])
    floor = noise_floor(samples, "base", "again")
    assert verdict(samples, "base", "quick", floor) == "faster"
    assert verdict(samples, "quick", "base", floor) == "slower"


def test_a_base_that_changes_from_life_to_life_widens_the_floor() -> None:
    still, _ = timed(base=[300], again=[300])
    moved, _ = timed(base=[300, 360, 300, 300], again=[300, 300, 360, 300])
    assert noise_floor(moved, "base", "again") > 0.15 > 0.03 > noise_floor(still, "base", "again")


def test_few_blocks_mean_fewer_lives() -> None:
    samples, opened = timed(blocks=5, lives=4, a=[200])
    assert samples.lives == len(opened) == 2 and samples.blocks("a").shape == (4,)


def test_progress_counts_up_to_the_end_over_all_lives() -> None:
    fake = FakeTime()
    told: list[tuple[int, int]] = []
    made, _ = openers(fake, a=[200])
    interleave_anew(made, lives=2, blocks=6, min_block_ms=1, clocks=fake.clocks, report=lambda *step: told.append(step))
    assert told == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("settings", [{"lives": 0}, {"blocks": 1}])
def test_no_life_or_a_single_block_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="it takes at least 1 and 2"):
        interleave_anew({"a": lambda: lambda: None}, **settings)  # type: ignore[arg-type]


def sung(*quarters: float) -> Samples:
    wall = np.repeat(np.array(quarters, float) * 1_000, 5)[:, None]
    return Samples({CANARY: wall.astype(np.int64)}, {CANARY: wall[:, 0]})


def test_drift_is_how_much_the_slowest_quarter_lags() -> None:
    assert drift(sung(50, 50, 50, 50)) == 0
    assert drift(sung(50, 60, 50, 55)) == pytest.approx(0.2) and drift(sung(50, 60, 50, 55)) > DRIFT
    noisy = sung(50, 50, 50, 50)
    noisy.wall_ns[CANARY][3] *= 100  # one disturbed block is no drift
    assert drift(noisy) == 0


def test_drift_of_fewer_blocks_than_quarters() -> None:
    short = Samples({CANARY: np.array([[50], [75]])}, {CANARY: np.array([50.0, 75.0])})
    assert drift(short) == pytest.approx(0.5)


def test_the_canary_always_sings_the_same() -> None:
    first, second = canary()(), canary()()
    assert isinstance(first, np.ndarray) and first.shape == (64, 64)
    np.testing.assert_array_equal(first, second)
