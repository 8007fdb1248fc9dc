"""Charts of intervals as PNG, drawn by Pillow."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paring.core.atomic import write_atomically
from paring.report.words import digits
from paring.studies.sheets import Chart

WIDTH, LINE, TOP, BOTTOM, RIGHT = 1200, 46, 96, 70, 60
INK, FAINT, BAR, WHISKER = "#1b1f24", "#c9ced6", "#5b7fd1", "#1f3b80"
TEXT, TITLE = 20, 26
NO_PILLOW = "The PNG figures need Pillow, which is not installed: pip install 'paring[images]'."


def write_charts(out: Path, charts: Iterable[Chart]) -> tuple[str, ...]:
    """Draws each chart that has a bar; returns the paths written, none of them without Pillow."""
    if importlib.util.find_spec("PIL") is None:
        return ()
    drawn = [chart for chart in charts if chart.bars]
    for chart in drawn:
        write_atomically(out / chart.path, png(chart))
    return tuple(chart.path for chart in drawn)


def png(chart: Chart) -> bytes:
    """The chart as PNG: a bar to each figure, its interval across. Figures that are no number get no bar."""
    from PIL import Image, ImageDraw, ImageFont

    font, large = ImageFont.load_default(TEXT), ImageFont.load_default(TITLE)
    height = TOP + LINE * len(chart.bars) + BOTTOM
    image = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    left = int(max(draw.textlength(name, font=font) for name, *_ in chart.bars)) + 40
    ticks = scale(chart)
    low, high = ticks[0], ticks[-1]

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - RIGHT - left)

    draw.text((24, 24), chart.title, fill=INK, font=large)
    for tick in ticks:
        draw.line((place(tick), TOP - 12, place(tick), height - BOTTOM), fill=FAINT, width=1)
        draw.text((place(tick), height - BOTTOM + 10), _tick(tick, ticks), fill=INK, font=font, anchor="mt")
    draw.text((WIDTH - RIGHT, height - 14), chart.unit, fill=INK, font=font, anchor="rb")
    for number, (name, value, least, most) in enumerate(chart.bars):
        y = TOP + LINE * number + LINE // 2
        draw.text((left - 16, y), name, fill=INK, font=font, anchor="rm")
        if math.isfinite(value):
            _bar(draw, place, y, value, least, most, 0.0 if low <= 0 <= high else low)
    kept = io.BytesIO()
    image.save(kept, "PNG")
    return kept.getvalue()


def scale(chart: Chart) -> list[float]:
    """Four to ten round numbers that hold every figure and interval, and 0 where the chart wants it."""
    values = [v for _, *figures in chart.bars for v in figures if math.isfinite(v)] + ([0.0] if chart.zero else [])
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high == low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, last + 1)]


def _bar(draw: Any, place: Any, y: int, value: float, least: float, most: float, start: float) -> None:
    draw.rectangle((*sorted((place(start), place(value)))[:1], y - 9, max(place(start), place(value)), y + 9), fill=BAR)
    if least < most and math.isfinite(least) and math.isfinite(most):
        draw.line((place(least), y, place(most), y), fill=WHISKER, width=3)
        for end in (least, most):
            draw.line((place(end), y - 7, place(end), y + 7), fill=WHISKER, width=3)


def _tick(tick: float, ticks: list[float]) -> str:
    step = ticks[1] - ticks[0]
    return digits(tick) if step < 1e-4 else f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
