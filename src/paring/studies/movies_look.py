"""What the movies study asks of its files: the share of the ensemble's gain, and what serving them takes."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paring.core.edit import Progress
from paring.core.target import Target
from paring.core.task import Batches, outputs_and_targets
from paring.engines import open_session
from paring.judge.bench import Bench, timed_inputs
from paring.judge.judge import timed_runner
from paring.measure.energy import cost_per_million
from paring.measure.latency import interleave
from paring.measure.quality import file_outputs
from paring.numerics.resample import mean_draws, percentile_interval
from paring.studies.serving_costs import PRICE
from paring.studies.sheets import Looked, Sheet
from paring.studies.study import Claim, Judgement

Floats = NDArray[np.float64]
Row = dict[str, Any]
BATCH = 256
COLUMNS = (
    ("name", "row"), ("rmse", "RMSE"), ("kept", "gain kept, %"), ("components", "components"), ("bytes", "bytes"),
    ("p50", "one call, p50 ms"), ("per_s", f"a second and core, batch {BATCH}"), ("cost", "cost of a million"),
)  # fmt: skip
NOTE = (
    "On {n:,} ratings that nothing was trained on. Gain kept: how much lower the RMSE is than that of user and item "
    "biases, by how much lower the ensemble's is; intervals are 95 %, from draws of the ratings, the same for every "
    f"line. Cost: processor time at batch {BATCH}, {PRICE} for an hour of one core."
)


def gains(count: int, judgement: Judgement) -> Generator[Progress, None, Looked]:
    """The sheet of one part. `count` is how many models the ensemble holds."""
    task, files = judgement.task, judgement.files
    _, data = task.headline()
    yield Progress(0, 2, "the share of the gain")
    squares = {"biases": _biases(judgement, data)} | {name: _squares(path, data) for name, path in files.items()}
    figures = share_figures(squares)
    yield Progress(1, 2, f"batches of {BATCH}")
    batched = _batched(judgement)
    rows, base = [], judgement.run.baseline
    for name, one in judgement.measured.items():
        per_s, cpu_ms = batched[name]
        rows.append(
            {"name": name, **figures[name], "components": count if one is base else 1, "bytes": one.file_bytes,
             "p50": one.latency_ms["p50"], "per_s": per_s, "cost": cost_per_million(cpu_ms, PRICE)}
        )  # fmt: skip
    part = judgement.folder.path.name
    note = NOTE.format(n=len(squares["biases"]))
    sheet = Sheet(f"{part} trade", f"{part.replace('-', ' ')}: what is kept, what it takes", note, COLUMNS, tuple(rows))
    return Looked((sheet,), {row["name"]: {"gains": row} for row in rows})


def share_figures(squares: dict[str, Floats]) -> dict[str, Row]:
    """By name RMSE and share kept, each [figure, low, high]. `squares`: squared errors of biases, ensemble, ..."""
    names = list(squares)
    terms = np.stack(list(squares.values()), 1)
    means, draws = np.sqrt(terms.mean(0))[None], np.sqrt(mean_draws(terms, times=1_000))
    found = {}
    for place, name in enumerate(names):

        def kept(m: Floats, i: int = place) -> Floats:
            share: Floats = 100 * (m[:, 0] - m[:, i]) / (m[:, 0] - m[:, 1])
            return share

        found[name] = {
            "rmse": [float(means[0, place]), *percentile_interval(draws[:, place])],
            "kept": [float(kept(means)[0]), *percentile_interval(kept(draws))],
        }
    return found


def claims() -> tuple[Claim, ...]:
    """What the study holds itself to."""
    solved = "any pair: student solved for"
    kept = "(ours) keeps >= 80 % of the ensemble's gain in RMSE over user and item biases"
    return (
        *(
            Claim(
                row, kept, lambda row, base: "{:.1f} % ({:.1f} to {:.1f})".format(*row["gains"]["kept"]),
                lambda row, base: row["gains"]["kept"][0] >= 80,
            )
            for row in (solved, f"{solved}, int8")
        ),
        Claim(
            solved, "(ours) >= 10 times lower latency than the ensemble's own file",
            lambda row, base: "{ratio:.1f} ({low:.1f} to {high:.1f})".format(**row["speedup"]),
            lambda row, base: row["speedup"]["ratio"] >= 10,
        ),
        Claim(
            f"{solved}, int8", "(ours) 100 times smaller than the ensemble, and 5 times lower latency",
            lambda row, base: "{:.0f} times smaller, {:.1f} times lower latency".format(
                base["file_bytes"] / row["file_bytes"], row["speedup"]["ratio"]
            ),
            lambda row, base: base["file_bytes"] >= 100 * row["file_bytes"] and row["speedup"]["ratio"] >= 5,
        ),
    )  # fmt: skip


def _squares(path: Path, data: Batches) -> Floats:
    stars, wanted = file_outputs(open_session(path, Target("onnxruntime")), data)
    return (stars.double() - wanted.double()).square().numpy()


def _biases(judgement: Judgement, data: Batches) -> Floats:
    stars, wanted = outputs_and_targets(judgement.task, judgement.task.students["biases"](), data)
    return (stars.double() - wanted.double()).square().numpy()


def _batched(judgement: Judgement) -> dict[str, tuple[float, float]]:
    """Row name -> (ratings a second, processor ms a rating), each file where it is fastest at batch 1."""
    example = timed_inputs(judgement.task, BATCH)
    runners = {
        name: timed_runner(path, judgement.measured[name].target, example) for name, path in judgement.files.items()
    }
    samples = interleave(runners, blocks=10, min_block_ms=Bench().min_block_ms)
    return {name: (samples.throughput_per_s(name, BATCH), samples.cpu_ms(name) / BATCH) for name in runners}
