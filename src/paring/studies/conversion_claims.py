"""What the conversion study holds itself to, beside its source's figures; and its charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paring.studies.sheets import Chart, Sheet
from paring.studies.study import Claim

Row = dict[str, Any]
SOURCE_CHANGE, SOURCE_MS = 0.15, 0.14  # the source's: percent of log loss, milliseconds a call


def claims(logs: Sequence[str]) -> tuple[Claim, ...]:
    """For each log."""
    return tuple(claim for log in logs for claim in _claims(log))


def _claims(log: str) -> tuple[Claim, ...]:
    both = f"{log}: student distilled, int8"
    return (
        Claim(both, "-0.15 % PLL and -0.14 ms a call", _trade, _trades),
        Claim(
            f"{log}: student distilled", "(ours) keeps >= 98 % of the teacher's gain over a constant rate",
            _rate("kept", "{:.1f} % ({:.1f} to {:.1f})"), _above("kept", 98),
        ),
        Claim(
            both, "(ours) int8 costs <= 0.1 % of log loss",
            _rate("int8", "{:+.3f} % ({:+.3f} to {:+.3f})"), lambda row, base: row["rates"]["int8"][0] <= 0.1,
        ),
        Claim(
            both, "(ours) predicted total within 0.5 % of the observed",
            _rate("calibration", "{:.4f} ({:.4f} to {:.4f})"),
            lambda row, base: abs(row["rates"]["calibration"][0] - 1) <= 0.005,
        ),
        Claim(both, "(ours) >= 10 times as fast as the teacher in PyTorch", _speed("speedup_eager"), _faster(10, True)),
        Claim(both, "(ours) >= 2 times as fast as the teacher's own file", _speed("speedup"), _faster(2, False)),
    )  # fmt: skip


def charts(rows: Sequence[Row], sheets: Mapping[str, Sheet]) -> tuple[Chart, ...]:
    """Latency, loss and return, a chart a log."""
    made = []
    for log in dict.fromkeys(row["part"] for row in rows):
        compute, quality = sheets[f"{log} compute"].rows, sheets[f"{log} quality"].rows
        bars = tuple((row["name"], row["p50"], row["p50"], row["p99"]) for row in compute)
        made.append(Chart(f"latency_results/{log}-latency.png", f"{log}: one call, p50 to p99", "ms", bars))
        change = tuple((row["name"], *row["change"]) for row in quality if row["change"] is not None)
        title = f"{log}: Poisson log loss against the teacher's"
        made.append(Chart(f"other_figures/{log}-log-loss.png", title, "%, lower is better", change))
        if (returns := sheets.get(f"{log} returns")) is not None:
            roi = tuple((row["name"], *row["roi"]) for row in returns.rows if row["roi"] is not None)
            made.append(Chart(f"roi_results/{log}-roi.png", f"{log}: return on a unit spent", "", roi))
            value = tuple((row["name"], *row["value"]) for row in returns.rows)
            made.append(Chart(f"roi_results/{log}-value.png", f"{log}: value a customer, doubly robust", "", value))
    return tuple(made)


def _trade(row: Row, base: Row) -> str:
    before = row["eager_p50_ms"]
    change, *_ = row["rates"]["change"]
    loss = f"{change:+.2f} % of log loss against the teacher, "
    if before is None:
        return loss + "PyTorch not timed"
    after = row["latency_ms"]["p50"]
    return f"{loss}{before:.3f} -> {after:.3f} ms a call from PyTorch to the file ({after - before:+.3f} ms)"


def _trades(row: Row, base: Row) -> bool:
    before = row["eager_p50_ms"]
    quick = before is not None and before - row["latency_ms"]["p50"] >= SOURCE_MS
    return quick and row["rates"]["change"][0] <= SOURCE_CHANGE


def _rate(key: str, words: str) -> Callable[[Row, Row], str]:
    return lambda row, base: words.format(*row["rates"][key])


def _above(key: str, least: float) -> Callable[[Row, Row], bool]:
    return lambda row, base: row["rates"][key][0] >= least


def _speed(key: str) -> Callable[[Row, Row], str]:
    def words(row: Row, base: Row) -> str:
        ratio = row[key]
        return "not timed" if ratio is None else f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"

    return words


def _faster(least: float, eager: bool) -> Callable[[Row, Row], bool]:
    key = "speedup_eager" if eager else "speedup"
    return lambda row, base: row[key] is not None and row[key]["ratio"] >= least
