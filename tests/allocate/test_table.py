"""Units, tables and the Fisher prior on small nets."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from paring.allocate.costs import stored_bytes
from paring.allocate.losses import yardstick
from paring.allocate.made import folded, made
from paring.allocate.measured import Measured
from paring.allocate.option import Option, Unit, precision_passes, structure_passes
from paring.allocate.prior import prior_of
from paring.allocate.step import Allocate
from paring.allocate.table import Menu, Table, build_table, features
from paring.allocate.units import WIDTHS, units_of
from paring.core.stream import drain
from paring.core.target import Target
from paring.core.task import Task
from paring.numerics.coded import zero_order_bits
from tests.nets import TASKS, image_task
from tests.runs import tiny_task

ALL = Allocate(shrink=2)


def menu(**changes: object) -> Menu:
    settings = {
        "widths": (0.5,),
        "ranks": (0.5,),
        "sparsities": (0.5,),
        "precisions": ("half", "int8", "int4"),
        "target": Target(),
        "coded": False,
    }
    return Menu(**(settings | changes))  # type: ignore[arg-type]


def table_of(task: Task, **changes: object) -> Table:
    base = folded(task.model, task.example_inputs)
    units, _ = units_of(ALL, base, task, width="apart")
    alone, _ = units_of(ALL, base, task, width="kept")
    wanted = menu(**changes)
    measured = Measured(base, alone, yardstick(task, base, 96), coded=wanted.coded, batch_size=1)
    return drain(build_table(units, wanted, measured))


@pytest.mark.parametrize("net", ["images", "dict", "encoder"])
def test_every_layer_is_in_one_unit(net: str) -> None:
    task = TASKS[net]()
    model = made(task.model, task, [])
    if net == "encoder":
        from paring.graph.edits.unfuse import unfuse_all

        for edit in unfuse_all(model):
            model = edit.apply(model)
    units, declined = units_of(ALL, folded(model, task.example_inputs), task, width="apart")
    layers = [layer for unit in units for layer in unit.layers]
    assert len(layers) == len(set(layers))
    kinds = (nn.Linear, nn.Conv2d, nn.Embedding)
    wanted = {name for name, module in model.named_modules() if type(module) in kinds}
    assert set(layers) | {one.layer for one in declined} == wanted
    assert any(unit.producers for unit in units)


def test_shared_weights_and_grouped_convolutions_are_declined() -> None:
    task = TASKS["vectors"]()
    _, declined = units_of(ALL, task.model, task, width="apart")
    assert {one.layer for one in declined} == {"tied_a", "tied_b"}
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(64, 4))
    _, declined = units_of(ALL, net, image_task(model=net), width="apart")
    assert [(one.layer, "grouped" in one.reason) for one in declined] == [("1", True)]


def test_groups_that_touch_are_cut_alike_or_every_other_one() -> None:
    task = image_task(
        model=nn.Sequential(
            *(nn.Conv2d(1 if i == 0 else 6, 6, 3, padding=1) for i in range(4)), nn.Flatten(), nn.Linear(384, 4)
        )
    )
    found = {width: units_of(ALL, task.model, task, width=width)[0] for width in WIDTHS}
    cut = {width: [(unit.layers, unit.producers) for unit in units if unit.producers] for width, units in found.items()}
    assert cut["apart"] == [(("1", "2"), ("1",)), (("3", "5"), ("3",))]  # those of most weights first
    assert cut["together"] == [(("0", "1", "2", "3", "5"), ("0", "1", "2", "3"))]
    assert cut["kept"] == []
    for units in found.values():
        assert sorted(name for unit in units for name in unit.layers) == ["0", "1", "2", "3", "5"]


def test_an_options_loss_is_that_of_the_model_with_it_alone() -> None:
    task = image_task()
    base = folded(task.model, task.example_inputs)
    ruler = yardstick(task, base, 96)
    table = table_of(task)
    unit = next(unit for unit in table if unit.producers)
    for entry in table[unit]:
        alone = {unit: entry.option}
        model = made(base, ruler.task, [*structure_passes(alone), *precision_passes(alone)])
        # Few bits are rounded in one sweep over all layers, each behind the others' rounding.
        # Where a structure loses far more than a precision, or the other way round, both are added, not measured.
        composite = entry.option.structure != "dense" and entry.option.precision != "float"
        slack = 0.6 if entry.option == Option(precision="int4") else 0.1 if composite else 1e-3
        assert entry.loss == pytest.approx(ruler.loss(model), rel=slack), entry.option
        assert entry.num_bytes == stored_bytes(model, unit.layers, coded=False)


def test_losses_are_added_where_one_is_next_to_nothing_and_measured_where_not(monkeypatch: pytest.MonkeyPatch) -> None:
    task = image_task()
    base = folded(task.model, task.example_inputs)
    alone, _ = units_of(ALL, base, task, width="kept")
    measured = Measured(base, alone, yardstick(task, base, 96), coded=False, batch_size=1)
    unit = next(unit for unit in alone if unit.linears)
    cut, rounded, both = Option("rank", 0.5), Option(precision="int8"), Option("rank", 0.5, "int8")
    made_so = {}
    for small, expected in ((0.04, 1.04), (0.06, 7.0)):
        planted = {cut: (1.0, b"cut"), rounded: (small, b"rounded"), both: (7.0, b"both")}
        monkeypatch.setattr(Measured, "_lost", lambda *args, planted=planted: planted[args[2]])
        measured.facts.clear()
        assert [measured.option(unit, option).loss for option in (cut, rounded, both)] == [1.0, small, expected]
        made_so[small] = measured.option(unit, both)
    one, other = made_so.values()
    assert (one.num_bytes, one.operations) == (other.num_bytes, other.operations)
    assert (one.direction, other.direction) == (b"cut", b"both")


def test_no_option_of_a_table_is_beaten_by_another() -> None:
    for entries in table_of(image_task(), widths=(0.5, 0.51)).values():  # the same channels
        for one in entries:
            for other in entries:
                cheaper = other.num_bytes <= one.num_bytes and other.read_mb <= one.read_mb
                cheaper &= bool((features(other) <= features(one)).all())
                assert one in (other, entries[0]) or not (cheaper and other.loss <= one.loss)


def test_fewer_channels_are_fewer_outputs_and_fewer_bits_are_not() -> None:
    [entries] = [entries for unit, entries in table_of(image_task()).items() if unit.producers]
    rows = {str(entry.option): entry.outputs for entry in entries}
    assert rows["float"] == rows["half"] == rows["int8"]
    assert 0 < rows["width 0.5, float"] == rows["width 0.5, int8"] < rows["float"]


def test_fewer_bits_and_channels_are_fewer_bytes() -> None:
    [entries] = [entries for unit, entries in table_of(image_task()).items() if unit.producers]
    rows = {str(entry.option): entry.num_bytes for entry in entries}
    assert rows["int8"] < rows["half"] < rows["float"]
    [entries] = [entries for unit, entries in table_of(image_task(), precisions=()).items() if unit.producers]
    rows = {str(entry.option): entry.num_bytes for entry in entries}
    assert rows["width 0.5, float"] < rows["float"]


def test_the_model_as_it_is_stays_where_half_precision_loses_nothing() -> None:
    task = image_task()
    for parameter in task.model.parameters():
        parameter.data = parameter.data.half().float()
    task.model.stem.weight.data.zero_()  # whatever is done to it loses nothing
    for entries in table_of(task).values():
        assert entries[0].option == Option()


def test_zeros_count_where_bytes_are_coded() -> None:
    task = image_task()
    plain, coded = table_of(task), table_of(task, coded=True)
    assert not any(entry.option.structure == "sparsity" for entries in plain.values() for entry in entries)
    assert any(entry.option.structure == "sparsity" for entries in coded.values() for entry in entries)


def test_coded_bytes_of_integers_are_their_entropy() -> None:
    task = tiny_task()
    unit = Unit("0", ("0",), linears=("0",))
    model = made(task.model, task, precision_passes({unit: Option(precision="int8")}))
    q = model.get_submodule("0").weight_q
    _, counts = np.unique(q.numpy(), return_counts=True)
    p = counts / counts.sum()
    expected = -(counts * np.log2(p)).sum() / 8
    plain, coded = (stored_bytes(model, ["0"], coded=coded) for coded in (False, True))
    assert coded == pytest.approx(plain - q.numel() + expected)
    assert zero_order_bits({0: 1, 1: 1, 2: 2}) == pytest.approx(6.0)
    assert zero_order_bits({}) == 0.0


def test_the_prior_ranks_perturbations_as_the_measured_loss_does() -> None:
    task = tiny_task()
    model = copy.deepcopy(task.model)
    ruler = yardstick(task, model, 96)
    prior = prior_of(model, ["0", "2"], ruler)
    guessed, measured = [], []
    generator = torch.Generator().manual_seed(0)
    for layer in ("0", "2"):
        for size in (0.003, 0.01, 0.03, 0.1):
            other = copy.deepcopy(model)
            weight = other.get_submodule(layer).weight
            with torch.no_grad():
                weight += size * torch.randn(weight.shape, generator=generator)
            guess = prior.loss(layer, other.get_submodule(layer))
            assert guess is not None
            guessed.append(guess)
            measured.append(ruler.loss(other))
    assert spearmanr(guessed, measured).statistic > 0.9
    assert np.median(np.array(guessed) / np.array(measured)) == pytest.approx(1.0, abs=0.5)
    assert prior.loss("0", copy.deepcopy(model.get_submodule("0"))) == 0.0
    assert all(parameter.grad is None for parameter in model.parameters())
