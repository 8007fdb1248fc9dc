"""What the page shows of one candidate beyond its measurement: its recipe, its layers, its raw timings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from paring.core.candidate import Candidate
from paring.core.edit import Declined, Epoch
from paring.judge.record import NODES, SAMPLES, Judged
from paring.measure.samples import Samples
from paring.recipe_io import to_yaml
from paring.report.layers import Costs, Layer, layer_names, layers
from paring.report.weights import layer_bytes, layer_ms

PROFILE = "profile.json"  # a paring.measure.profile.Profile, where the run took one


@dataclass(frozen=True)
class Detail:
    """`samples` is None where the folder keeps none."""

    recipe: str
    layers: tuple[Layer, ...] = ()
    declined: tuple[Declined, ...] = ()
    samples: Samples | None = None
    history: tuple[Epoch, ...] = ()


def details(judged: Sequence[Judged], baseline: Judged) -> dict[str, Detail]:
    """Candidate name -> Detail. Raises CorruptFileError for samples that cannot be read."""
    return {one.measurement.name: _detail(one, baseline) for one in judged}


def _detail(one: Judged, baseline: Judged) -> Detail:
    candidate = one.candidate
    names = layer_names(baseline.candidate, candidate)
    samples = one.folder / SAMPLES
    return Detail(
        recipe=to_yaml(candidate.recipe),
        layers=layers(baseline.candidate, candidate, _costs(baseline, names), _costs(one, names)),
        declined=_once(candidate),
        samples=Samples.load(samples) if samples.is_file() else None,
        history=candidate.history,
    )


def _costs(judged: Judged, names: list[str]) -> Costs:
    nodes, profile = judged.folder / NODES, judged.folder / PROFILE
    sizes, times = {}, {}
    if nodes.is_file() and judged.model.is_file():
        sizes = layer_bytes(judged.model, json.loads(nodes.read_text(encoding="utf-8")), names)
    if profile.is_file():
        times = layer_ms(json.loads(profile.read_text(encoding="utf-8"))["ops"], names)
    return Costs(sizes, times)


def _once(candidate: Candidate) -> tuple[Declined, ...]:
    return tuple(dict.fromkeys(candidate.declined))
