"""Axes, ticks, labels, curves and numbers in words."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paring.report.density import BINS, curve, density
from paring.report.labels import _box, place, shorten
from paring.report.roles import Point, front
from paring.report.scale import Axis, axis, tick_texts
from paring.report.words import digits, scaled, signed, times

POSITIVE = st.floats(1e-6, 1e12)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
@example([5e-324])
@example([1.0, 1.3e-290])
def test_axis_shows_every_value(values: list[float]) -> None:
    along = axis(values)
    assert along.low < along.high and all(along.low <= value <= along.high for value in values)
    assert all(0 <= along.at(value) <= 1 for value in values)


@given(POSITIVE, st.floats(1.001, 1e6))
def test_ticks_are_few_round_and_inside(low: float, factor: float) -> None:
    for along in (Axis(low, low * factor), Axis(low, low * factor, log=True)):
        ticks = along.ticks()
        assert 1 <= len(ticks) <= 9 and ticks == sorted(ticks)
        assert all(along.low * (1 - 1e-6) <= tick <= along.high * (1 + 1e-6) for tick in ticks)


@given(POSITIVE, st.floats(1.01, 1e4))
def test_tick_texts_differ_and_say_the_value(low: float, factor: float) -> None:
    ticks = Axis(low, low * factor).ticks()
    texts = tick_texts(ticks)
    assert len(set(texts)) == len(texts)
    assert all(
        math.isclose(float(text), tick, rel_tol=1e-5, abs_tol=1e-9) for text, tick in zip(texts, ticks, strict=True)
    )


def test_log_where_the_range_asks_for_it() -> None:
    assert axis([1, 100]).log and not axis([1, 2]).log and not axis([0, 100]).log
    assert axis([10, 1000]).ticks() == pytest.approx([10, 20, 50, 100, 200, 500, 1000])


def test_log_axis_puts_equal_factors_at_equal_distances() -> None:
    along = Axis(1.0, 100.0, log=True)
    assert along.at(10) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.floats(60, 340), st.floats(30, 240)), min_size=1, max_size=12))
def test_labels_never_overlap(points: list[tuple[float, float]]) -> None:
    texts = [f"name {number}" for number in range(len(points))]
    placed = [label for label in place(points, texts, (46, 20, 380, 254)) if label]
    assert placed
    for one, other in combinations([_box(label.text, label.x, label.y, label.anchor) for label in placed], 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_label_keeps_clear_of_bars_where_it_can() -> None:
    bar = (90.0, 0.0, 90.0, 200.0)
    frame = (0.0, 0.0, 400.0, 300.0)
    (free,), (moved,) = (place([(80, 100)], ["long name"], frame, bars) for bars in ([], [bar]))
    assert free and moved and free.anchor == "start" and moved.anchor == "end"


def test_front_holds_what_nothing_beats() -> None:
    figures = [(1, 0.5), (2, 0.1), (3, 0.2), (2, 0.3), (4, 0.1), (5, 0.0)]
    points = [Point(x, -drop, None, None, drop) for x, drop in figures]
    assert front(points) == [0, 1, 5]


def test_density_peaks_where_the_values_are() -> None:
    along = Axis(0.1, 10.0, log=True)
    heights = density(np.full(1000, 1.0), along)
    assert heights.shape == (BINS,) and heights.max() == 1.0
    assert abs(int(heights.argmax()) - BINS // 2) <= 1
    assert curve(heights).startswith("M") and curve(heights).endswith("Z")
    assert curve(np.zeros(BINS)) == ""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (digits(0.021065), "0.0211"), (digits(2.2353), "2.24"), (digits(1234.6), "1235"), (digits(0), "0"),
        (scaled(567120, "B"), "567 kB"), (scaled(1238400), "1.24 M"), (scaled(12, "B"), "12 B"),
        (scaled(999_999), "1.00 M"),
        (signed(0.005), "+0.0050"), (signed(-0.005), "−0.0050"), (signed(-1e-9), "0.0000"), (signed(123.456), "+123.5"),
        (times(2, "smaller", "larger"), "2.0 times smaller"), (times(0.5, "smaller", "larger"), "2.0 times larger"),
        (times(1.01, "smaller", "larger"), "of the same size"), (shorten("a" * 30), "a" * 23 + "…"),
    ],
)  # fmt: skip
def test_numbers_in_words(said: str, expected: str) -> None:
    assert said == expected
