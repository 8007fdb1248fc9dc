"""`paring load URL`: servers under load, from this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from paring.errors import SettingError

if TYPE_CHECKING:
    from paring.traffic.ladder import Ladder


@dataclass(frozen=True)
class Traffic:
    """What the options of `paring load` mean for addresses."""

    shapes: dict[str, tuple[int, ...]]
    limit_ms: float | None
    seconds: float
    clients: int
    token: str | None
    data: Path | None
    out: Path | None
    as_json: bool


def load_urls(urls: list[str], traffic: Traffic) -> None:
    """Climbs the ladder of each address in turn, and shows them side by side."""
    from paring.cli.consoles import console, errors
    from paring.traffic.figure import figure
    from paring.traffic.ladder import as_data, climb
    from paring.traffic.target import address_of, request_for

    if files := [url for url in urls if "://" not in url]:
        raise SettingError(f"load: {files[0]} is a file among addresses. Load files and addresses apart.")
    ladders: list[Ladder] = []
    inputs = None if traffic.data is None else _first_row(traffic.data)
    for url in urls:
        address = address_of(url, traffic.token)
        request = request_for(address, traffic.shapes, inputs)
        with errors.status("load") as status:
            ladders.append(
                climb(
                    address, request, seconds=traffic.seconds, limit_ms=traffic.limit_ms, clients=traffic.clients,
                    say=status.update,
                )
            )  # fmt: skip
    data = [as_data(ladder) for ladder in ladders]
    if traffic.out is not None:
        traffic.out.mkdir(parents=True, exist_ok=True)
        (traffic.out / "load.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        (traffic.out / "load.svg").write_text(figure(ladders), encoding="utf-8")
    if traffic.as_json:
        console.print_json(json.dumps(data))
        return
    for ladder in ladders:
        console.print(_table(ladder))
        console.print(_line(ladder), soft_wrap=True, highlight=False)


def _first_row(path: Path) -> dict[str, Any]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name][:1] for name in held.files if name != "target"}
    except (OSError, ValueError) as error:
        raise SettingError(f"--data {path}: cannot be read as .npz ({type(error).__name__}).") from None


def _table(ladder: Ladder) -> Table:
    title = f"{ladder.model}: saturates at {ladder.saturation_per_s:,.0f} answers per s"
    table = Table("arrivals per s", title=title, title_justify="left", header_style="bold")
    for heading in ("share", "answers per s", "p50 ms", "p90 ms", "p99 ms", "refused", "failed", "client late ms"):
        table.add_column(heading, justify="right")
    for one in ladder.rungs:
        latency = (f"{one.latency_ms[name]:.2f}" for name in ("p50", "p90", "p99"))
        share = one.rate_per_s / ladder.saturation_per_s if ladder.saturation_per_s else float("nan")
        refused = f"{one.refused / max(one.sent, 1):.1%}"
        answers = f"{one.answers_per_s:,.0f}"
        table.add_row(
            f"{one.rate_per_s:,.0f}", f"{share:.0%}", answers, *latency, refused, f"{one.failed}", f"{one.late_ms:.2f}"
        )
    return table


def _line(ladder: Ladder) -> str:
    words = "Latency counts from the intended send time of a Poisson process; percentiles are of accepted requests."
    if ladder.limit_ms is None:
        return words
    rate = "no rate tried" if ladder.highest_per_s is None else f"{ladder.highest_per_s:,.0f} per s"
    return f"{words} Highest rate with {ladder.percentile} below {ladder.limit_ms:g} ms: {rate}."
