"""Sheets as CSV, Markdown and HTML; charts as PNG."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Generator
from pathlib import Path

import pytest

from paring import Recipe
from paring.core.edit import Progress
from paring.core.stream import drain
from paring.quantize.static import Static
from paring.studies.charts import png, scale, write_charts
from paring.studies.kept import kept
from paring.studies.sheets import Chart, Looked, Sheet

SHEET = Sheet(
    "costs", "What it costs", "A note.", (("name", "row"), ("loss", "loss"), ("on", "where")),
    ({"name": "a", "loss": [0.29318, 0.28, 0.3], "on": None}, {"name": "b", "loss": None, "on": "here, there"}),
)  # fmt: skip
CHART = Chart("roi_results/roi.png", "Return", "units", (("a", 1.5, 1.0, 2.0), ("a longer name", -0.5, -0.5, -0.5)))
needs_pillow = pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")


def test_an_interval_takes_three_columns_of_the_csv_and_one_cell_of_the_page() -> None:
    rows = list(csv.DictReader(SHEET.csv().splitlines()))
    assert rows[0] == {"name": "a", "loss": "0.29318", "loss_low": "0.28", "loss_high": "0.3", "on": ""}
    assert rows[1]["loss"] == "" and rows[1]["on"] == "here, there"
    assert SHEET.texts() == [["a", "0.2932 (0.2800 to 0.3000)", "–"], ["b", "–", "here, there"]]
    assert "0.2932 (0.2800 to 0.3000)" in SHEET.html()


@pytest.mark.parametrize(
    "bars", [CHART.bars, (("x", 0.0, 0.0, 0.0),), (("x", 3e-5, 1e-5, 9e-5),), (("x", 12.0, 1, 999),)]
)
def test_ticks_are_round_and_hold_every_figure(bars) -> None:  # type: ignore[no-untyped-def]
    ticks = scale(Chart("", "", "", bars))
    assert ticks[0] <= min(v for _, *values in bars for v in values) and ticks[0] <= 0
    assert ticks[-1] >= max(v for _, *values in bars for v in values)
    assert 2 <= len(ticks) <= 10


@needs_pillow
def test_a_chart_shows_bars_where_their_figures_are(tmp_path: Path) -> None:
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(png(CHART))).convert("RGB")
    blue = [x for x in range(image.width) if image.getpixel((x, 96 + 23)) == (0x5B, 0x7F, 0xD1)]
    other = [x for x in range(image.width) if image.getpixel((x, 96 + 46 + 23)) == (0x5B, 0x7F, 0xD1)]
    assert blue and other and max(other) <= min(blue) + 1, "the negative bar ends where the positive one begins"
    assert write_charts(tmp_path, (CHART, Chart("none.png", "", "", ()))) == ("roi_results/roi.png",)
    assert (tmp_path / "roi_results" / "roi.png").read_bytes().startswith(b"\x89PNG")


def test_without_pillow_nothing_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert write_charts(tmp_path, (CHART,)) == ()
    assert not list(tmp_path.iterdir())


def test_a_look_is_taken_once_for_the_same_recipes(tmp_path: Path) -> None:
    taken = []

    def look() -> Generator[Progress, None, Looked]:
        yield Progress(0, 1, "looking")
        taken.append(1)
        return Looked((SHEET,), {"a": {"rates": {"kept": [99.0, 98.0, 100.0]}}})

    recipes = [Recipe((Static(),), "int8")]
    first, again = (drain(kept(tmp_path, "look", recipes, look)) for _ in range(2))
    assert taken == [1]
    assert again.sheets[0].texts() == first.sheets[0].texts() and again.more == first.more
    drain(kept(tmp_path, "look", [*recipes, Recipe((Static(num_bits=4),))], look))
    drain(kept(tmp_path, "look of 5 folds", recipes, look))
    assert taken == [1, 1, 1]


def test_two_looks_join_what_they_know_of_a_row() -> None:
    both = Looked((SHEET,), {"a": {"x": 1, "y": 1}}) | Looked((), {"a": {"y": 2}, "b": {"z": 3}})
    assert both.sheets == (SHEET,) and both.more == {"a": {"x": 1, "y": 2}, "b": {"z": 3}}
