from __future__ import annotations

from collections.abc import Callable

from paring.serve.pace import MOST_SHAPES, TRY_EVERY, Pace

KEY = ("x", (3,))


def sizes_used(pace: Pace, seconds: Callable[[int], float], calls: int) -> list[int]:
    """What a queue that never empties would be given."""
    used = []
    for _ in range(calls):
        used.append(pace.size(KEY))
        pace.saw(KEY, used[-1], seconds(used[-1]))
    return used


def test_it_starts_with_all_and_stays_there_where_more_is_faster() -> None:
    used = sizes_used(Pace(32), lambda rows: 1.0 + 0.01 * rows, 200)
    assert used[0] == 32
    assert used.count(32) >= 200 * (TRY_EVERY - 2) / TRY_EVERY


def test_it_finds_the_size_beyond_which_rows_get_slower() -> None:
    pace = Pace(32)
    used = sizes_used(pace, lambda rows: 0.2 + 0.1 * rows + 0.05 * max(0, rows - 8) ** 1.5, 400)
    late = used[200:]
    assert max(set(late), key=late.count) == 8
    assert min(late) >= 4 and max(late) <= 16  # its neighbours are tried now and then


def test_it_comes_back_when_the_machine_changes() -> None:
    pace = Pace(16)
    sizes_used(pace, lambda rows: 0.1 * rows**2, 200)
    assert pace.size(KEY) <= 2
    used = sizes_used(pace, lambda rows: 1.0 + 0.01 * rows, 600)
    assert max(set(used[-50:]), key=used[-50:].count) == 16


def test_sizes_end_at_the_most_and_shapes_are_forgotten() -> None:
    assert Pace(24).sizes == (1, 2, 4, 8, 16, 24)
    assert Pace(1).sizes == (1,)
    pace = Pace(4)
    for number in range(MOST_SHAPES + 10):
        pace.saw((number,), 1, 1.0)
    assert len(pace._known) == MOST_SHAPES
