"""Sections that only some runs fill: the floor, classes, memory over time, time by layer, drift."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from paring.core.detail import Agreement, Floor, MemoryUse, OpFloor, SliceDrop, Throughput, Timeline
from paring.core.measurement import Measurement
from paring.report.page import page
from paring.report.results import Run
from paring.report.weights import layer_ms
from tests.report.runs import made_up, made_up_detail, measured


def text_of(html: str, section: str) -> str:
    start = html.index(f'<section id="{section}"')
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html[start : html.index("</section>", start)]))


@pytest.fixture
def bare() -> Run:
    return made_up(measured("small", ratio=2.0, drop=0.01), chosen="small")


@pytest.fixture
def full(bare: Run) -> Run:
    detail = made_up_detail()
    timed = replace(detail, layers=tuple(replace(layer, ms_before=0.5, ms_after=0.25) for layer in detail.layers))
    return replace(
        bare,
        baseline=observed(bare.baseline, slices=False),
        candidates=tuple(observed(one) for one in bare.candidates),
        details={"small": timed},
    )


def observed(one: Measurement, slices: bool = True) -> Measurement:
    """The same measurement with all that can be known beside it."""
    assert one.headline is not None
    lost = (
        SliceDrop("cat", 0.8, 0.10, (0.04, 0.16), 50),
        SliceDrop("dog", 0.9, 0.02, (-0.03, 0.07), 60),
        SliceDrop("emu", 0.9, -0.01, None, 3),
    )
    ops = (
        OpFloor("n0", "Conv", "conv1", 9000, 400, 0.1, 0.02, "compute"),
        OpFloor("n1", "Relu", "", 0, 800, 0.0, 0.1, "memory"),
    )
    line = Timeline((0.0, 0.1, 0.2), (20_000_000, 30_000_000, 31_000_000), (0.0, 99.0, 101.0))
    return replace(
        one,
        headline=replace(
            one.headline, agreement=Agreement(0.987, 0.0123), slices=lost if slices else (), train_gap=0.03
        ),
        roofline_multiple=2.5,
        roofline=Floor(0.2, 0.0, 2.5, ops),
        memory=MemoryUse(1000, 2000, 12_000_000, 150.0, 5.0, line),
        throughput=(Throughput(1, 1, 1, 1000.0, 1.0), Throughput(1, 1, 2, 1900.0, 1.05)),
        drift=0.25,
    )


def test_what_was_not_measured_is_called_that(bare: Run) -> None:
    html = page(bare)
    for section in ("floor", "classes", "memory"):
        assert "Not measured" in text_of(html, section)
    assert "drifted" not in html and "ms before" not in html


def test_floor_gives_the_multiple_and_what_binds(full: Run) -> None:
    said = text_of(page(full), "floor")
    assert "2.5 times its floor" in said and "0.200 of 0.500 ms" in said
    assert "50 % compute, 50 % memory" in said and "Operators of small" in said and "conv1" in said


def test_files_without_a_floor_stand_beside_those_with_one(full: Run) -> None:
    said = text_of(page(replace(full, baseline=replace(full.baseline, roofline_multiple=None))), "floor")
    assert "not measured" in said and "2.5 times its floor" in said


def test_worst_class_first_and_certain_losses_marked(full: Run) -> None:
    said = text_of(page(full), "classes")
    assert said.index("cat") < said.index("dog") < said.index("emu")
    assert said.count("▼ +") == 1 and "▼ +0.1000 +0.0400 to +0.1600" in said
    assert "98.7 %" in said and "0.0123" in said and "+0.0300" in said


def test_memory_and_throughput_have_numbers_and_lines(full: Run) -> None:
    html = page(full)
    said = text_of(html, "memory")
    assert "12.0 MB" in said and "150" in said and "1,900" in said
    assert html.count("<polyline") == 4


def test_drift_is_told_where_it_casts_doubt(full: Run) -> None:
    assert "the machine drifted by 25.0 %" in page(full)


def test_time_by_layer_where_a_profile_is_there(full: Run) -> None:
    said = text_of(page(full), "layers")
    assert "ms before" in said and "0.500 0.250" in said


def test_time_of_operators_goes_to_their_layers() -> None:
    ops = json.loads('[{"module": "fc.0", "ms": 1.0}, {"module": "fc.1", "ms": 0.5}, {"module": "", "ms": 0.1}]')
    assert layer_ms(ops, ["fc", "head"]) == {"fc": 1.5, "": 0.1}
