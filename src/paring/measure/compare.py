"""Files against each other over engines, precisions, threads and batch sizes, all in the same blocks.

Example:
    for result in compare_files([a, b], targets): ...     # one Comparison for each (threads, batch size)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from paring.core.measurement import Ratio, Verdict
from paring.core.target import Target
from paring.engines import FileSession, check_file, open_session
from paring.engines.inputs import free_inputs
from paring.engines.protocol import Arrays, Shapes
from paring.errors import EngineError, SettingError
from paring.measure.canary import CANARY, DRIFT, canary, drift
from paring.measure.latency import Clocks, Report, Runner, compare, noise_floor, verdict
from paring.measure.lives import LIVES, Openers, interleave_anew
from paring.measure.samples import Samples

InputsFor = Callable[[FileSession, int], Arrays]


@dataclass(frozen=True)
class FileTiming:
    """File number `place` on one Target, against the first file on that same Target."""

    place: int
    path: Path
    target: Target
    latency_ms: Mapping[str, float]
    cpu_ms: float
    throughput_per_s: float
    ratio: Ratio
    noise_floor: float
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All files under one number of threads and one batch size.

    `best` compares each file on its own fastest Target with the first file on its own. `refused` says where a file or
    an engine did not run, `drift` by how much the machine's speed changed meanwhile, `inputs` what each
    file was given.
    """

    threads: int
    batch_size: int
    rows: tuple[FileTiming, ...]
    best: tuple[FileTiming, ...]
    refused: Mapping[str, str]
    drift: float
    samples: Samples = field(repr=False)
    inputs: Mapping[Path, Arrays] = field(repr=False)

    @property
    def steady(self) -> bool:
        """Whether the machine kept its speed."""
        return self.drift <= DRIFT


def compare_files(
    paths: Sequence[Path],
    targets: Sequence[Target],
    *,
    inputs_for: InputsFor | None = None,
    shapes: Shapes | None = None,
    blocks: int = 40,
    lives: int = LIVES,
    min_block_ms: float = 10.0,
    seed: int = 0,
    report: Report = lambda done, total: None,
    clocks: Clocks = Clocks(),  # noqa: B008
) -> Iterator[Comparison]:
    """One Comparison for each (threads, batch size) among `targets`; the first of `paths` is the base.

    The base runs twice on every Target: the second copy gives the noise floor and is judged by nobody.

    Args:
        inputs_for: real inputs for a session and a batch size; else zeros of `shapes`, or of the files' own shapes.
    Raises: SettingError for fewer than two files; EngineError if one is not there, if the base runs nowhere, or if
        nothing but the base runs.
    """
    if len(paths) < 2:
        raise SettingError(f"compare: it takes two files or more, and got {len(paths)}.")
    for path in paths:
        check_file(path)
    for threads, batch_size in dict.fromkeys((target.threads, target.batch_size) for target in targets):
        group = [target for target in targets if (target.threads, target.batch_size) == (threads, batch_size)]
        bench = _Bench(tuple(paths), inputs_for, dict(shapes or {}), batch_size)
        openers, refused = bench.openers(group)
        samples = interleave_anew(
            openers,
            lives=lives,
            blocks=blocks,
            min_block_ms=min_block_ms,
            threads=threads,
            seed=seed,
            report=report,
            clocks=clocks,
        )
        rows = tuple(
            _timing(samples, bench, place, target, target)
            for target in group
            for place in range(len(paths))
            if _name(place, target) in openers
        )
        yield Comparison(
            threads, batch_size, rows, _best(samples, bench, rows), refused, drift(samples), samples, bench.used
        )


@dataclass(frozen=True)
class _Bench:
    paths: tuple[Path, ...]
    inputs_for: InputsFor | None
    shapes: Shapes
    batch_size: int
    used: dict[Path, Arrays] = field(default_factory=dict)

    def openers(self, targets: Sequence[Target]) -> tuple[Openers, dict[str, str]]:
        """What opens each runner, after each was opened once; and why some could not be."""
        found: dict[str, Callable[[], Runner]] = {}
        refused: dict[str, str] = {}
        for target in targets:
            for place, path in enumerate(self.paths):
                try:
                    self._call(path, target)
                except EngineError as error:
                    refused[f"{path.name} on {target}"] = str(error)
                    if place == 0:
                        break
                    continue
                found[_name(place, target)] = partial(self._call, path, target)
                if place == 0:
                    found[_again(target)] = partial(self._call, path, target)
        others = {_name(place, target) for target in targets for place in range(1, len(self.paths))}
        if not others & found.keys():
            raise EngineError(next(iter(refused.values())))
        return found | {CANARY: canary}, refused

    def _call(self, path: Path, target: Target) -> Runner:
        session: FileSession = open_session(path, target)
        if self.inputs_for is None:
            arrays: Arrays = free_inputs(path, session.inputs, self.batch_size, self.shapes)
        else:
            arrays = self.inputs_for(session, self.batch_size)
        self.used[path] = arrays
        if target.static_shapes:
            session = open_session(path, target, static={name: array.shape for name, array in arrays.items()})
        return session.prepare(arrays)


def _name(place: int, target: Target) -> str:
    return f"{place} {target}"


def _again(target: Target) -> str:
    return f"again {target}"


def _timing(samples: Samples, bench: _Bench, place: int, target: Target, base: Target) -> FileTiming:
    name, against = _name(place, target), _name(0, base)
    floor = noise_floor(samples, against, _again(base))
    itself = place == 0 and target == base
    return FileTiming(
        place,
        bench.paths[place],
        target,
        samples.latency_ms(name),
        samples.cpu_ms(name),
        samples.throughput_per_s(name, bench.batch_size),
        Ratio(1.0, 1.0, 1.0) if itself else compare(samples, against, name),
        floor,
        "baseline" if itself else verdict(samples, against, name, floor),
    )


def _best(samples: Samples, bench: _Bench, rows: tuple[FileTiming, ...]) -> tuple[FileTiming, ...]:
    fastest: dict[int, Target] = {}
    for row in sorted(rows, key=lambda row: (row.latency_ms["p50"], str(row.target)), reverse=True):
        fastest[row.place] = row.target
    return tuple(_timing(samples, bench, place, target, fastest[0]) for place, target in sorted(fastest.items()))
