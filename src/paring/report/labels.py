"""Names beside the points of a plot, none on top of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CHARACTER, LINE = 6.9, 12.0  # mean width and height of a letter at the size of the plot's labels, in its own units
Anchor = Literal["start", "middle", "end"]
# (dx, dy, anchor), nearest and most natural first.
PLACES: tuple[tuple[float, float, Anchor], ...] = (
    (9, 4, "start"), (-9, 4, "end"), (0, -10, "middle"), (0, 19, "middle"), (8, -8, "start"), (-8, -8, "end"),
    (8, 16, "start"), (-8, 16, "end"), (0, -22, "middle"), (0, 31, "middle"), (12, -20, "start"), (-12, -20, "end"),
    (12, 29, "start"), (-12, 29, "end"), (0, -36, "middle"), (0, 45, "middle"), (20, -34, "start"), (-20, -34, "end"),
    (20, 43, "start"), (-20, 43, "end"),
)  # fmt: skip
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """Text at x, y (its baseline); `far` says that it stands away from its point and wants a leader."""

    text: str
    x: float
    y: float
    anchor: Anchor
    far: bool


def place(
    points: Sequence[tuple[float, float]], texts: Sequence[str], frame: Box, bars: Sequence[Box] = ()
) -> list[Label | None]:
    """A label a point, in order of importance, inside `frame` (left, top, right, bottom); None where there is no room.

    Keeps clear of all points and of labels placed before, and of the `bars` where it can.
    """
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    placed: list[Label | None] = []
    for (x, y), text in zip(points, texts, strict=True):
        label = next(
            (
                Label(text, x + dx, y + dy, anchor, abs(dy) > 20)
                for obstacles in ([*taken, *bars], taken)
                for dx, dy, anchor in PLACES
                if _free(_box(text, x + dx, y + dy, anchor), obstacles, frame)
            ),
            None,
        )
        placed.append(label)
        if label is not None:
            taken.append(_box(text, label.x, label.y, label.anchor))
    return placed


def shorten(text: str, most: int = 24) -> str:
    """At most `most` letters, the last one an ellipsis where some are missing."""
    return text if len(text) <= most else text[: most - 1].rstrip(" +") + "…"


def _box(text: str, x: float, y: float, anchor: Anchor) -> Box:
    width = CHARACTER * len(text)
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return (left, y - LINE + 2, left + width, y + 3)


def _free(box: Box, taken: Sequence[Box], frame: Box) -> bool:
    left, top, right, bottom = box
    inside = left >= frame[0] and top >= frame[1] and right <= frame[2] and bottom <= frame[3]
    return inside and not any(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in taken)
