"""Numbers as a reader wants them: three digits and a unit."""

from __future__ import annotations

import math

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MINUS = "\N{MINUS SIGN}"


def digits(value: float, wanted: int = 3) -> str:
    """`wanted` significant digits without an exponent: 0.0211, 2.24, 567, 1234."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    rounded = abs(float(f"{value:.{wanted - 1}e}"))
    decimals = max(0, wanted - 1 - math.floor(math.log10(rounded)))
    return f"{value:.{decimals}f}"


def scaled(value: float, unit: str = "") -> str:
    """567120, "B" -> "567 kB"; 1238400 -> "1.24 M"; 12 -> "12"."""
    for factor, prefix in PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{digits(value / factor)} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()


def metric_text(value: float) -> str:
    """Four decimals below ten, four digits above."""
    return f"{value:.4f}" if abs(value) < 10 else digits(value, 4)


def signed(value: float) -> str:
    """As `metric_text`, always with its sign, and zero without one."""
    text = metric_text(abs(value))
    if not text.strip("0."):
        return text
    return f"{MINUS if value < 0 else '+'}{text}"


def percent(share: float) -> str:
    """0.0123 -> "1.2 %"."""
    return f"{100 * share:.1f} %"


def times(ratio: float, more: str, less: str) -> str:
    """2.0, "smaller", "larger" -> "2.0 times smaller"; 0.5 -> "2.0 times larger"; within 2 %: "of the same size"."""
    if 0.98 < ratio < 1.02:
        return "of the same size"
    return f"{ratio:.1f} times {more}" if ratio > 1 else f"{1 / ratio:.1f} times {less}"
