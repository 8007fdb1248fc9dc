"""Timing over several openings of the same files.

What a session is given when it is opened (its pages, where its weights and buffers lie) it keeps for life, and no
number of blocks averages that out; opening the files anew does, in an order that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from paring.errors import SettingError
from paring.measure.latency import Clocks, Report, Runner, interleave
from paring.measure.samples import Samples

Openers = Mapping[str, Callable[[], Runner]]
LIVES = 4


def interleave_anew(
    openers: Openers,
    *,
    lives: int = LIVES,
    blocks: int = 40,
    min_block_ms: float = 10.0,
    threads: int = 1,
    seed: int = 0,
    report: Report = lambda done, total: None,
    clocks: Clocks = Clocks(),  # noqa: B008
) -> Samples:
    """Opens every runner anew for each of `lives` stretches of blocks, in shuffled order; times them as `interleave`.

    At least 2 blocks a life: few blocks mean fewer lives. The samples say how many, and intervals resample lives first.

    Args:
        openers: name -> opens it and gives the call.
    Raises: SettingError for no runner, fewer than 2 blocks or no life.
    """
    if lives < 1 or blocks < 2:
        raise SettingError(f"timing: {lives} lives and {blocks} blocks; it takes at least 1 and 2.")
    lives = min(lives, blocks // 2)
    per_life = blocks // lives
    rng = np.random.default_rng(seed)
    names = list(openers)
    taken: list[Samples] = []
    reps: dict[str, int] = {}
    for life in range(lives):
        opened = {names[index]: openers[names[index]]() for index in rng.permutation(len(names))}
        samples = interleave(
            {name: opened[name] for name in names},
            blocks=per_life,
            min_block_ms=min_block_ms,
            threads=threads,
            seed=seed + life,
            reps=reps,
            report=lambda done, _, before=life * per_life: report(before + done, lives * per_life),  # type: ignore[misc]
            clocks=clocks,
        )
        reps = {name: samples.wall_ns[name].shape[1] for name in names}
        taken.append(samples)
    return _joined(taken, lives)


def _joined(taken: list[Samples], lives: int) -> Samples:
    first = taken[0]
    wall = {name: np.concatenate([one.wall_ns[name] for one in taken]) for name in first.names}
    cpu = {name: np.concatenate([one.cpu_ns[name] for one in taken]) for name in first.names}
    return Samples(wall, cpu, first.threads, {**first.context, "lives": lives})
