"""The clock decides: on planted tables, so that the answer does not depend on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paring import Task, batches
from paring.candidates import compress
from paring.clock.chain import Chain, Gemm, scaled
from paring.clock.table import Timing, key, store, table_path
from paring.core.edit import Declined
from paring.core.measurement import Ratio, Verdict
from paring.core.recipe import Recipe
from paring.core.target import Target
from paring.errors import SettingError
from paring.factorize.by_clock import ByClock
from paring.factorize.options import linear_view
from paring.factorize.svd import Svd
from paring.factorize.tucker import Tucker
from paring.factorize.view import LowRankView
from paring.factorize.whitened_svd import WhitenedSvd
from paring.graph.edits.factorize import Factorize
from paring.measure.metrics import accuracy
from paring.numerics.factor import decompose
from paring.recipe_io import parse_recipe, to_yaml

TARGET = Target()


@pytest.fixture(autouse=True)
def own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def view(rank: int = 8, num_out: int = 64, num_in: int = 96) -> LowRankView:
    """A Linear of this rank and a little noise."""
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(num_in, num_out)
    W = torch.randn(num_out, rank, generator=generator) @ torch.randn(rank, num_in, generator=generator)
    linear.weight.data.copy_(W + 0.01 * torch.randn(num_out, num_in, generator=generator))
    return linear_view("fc", linear, decompose(linear.weight.detach()), (2, num_in), torch.zeros(2, num_in))


def plant(seen: LowRankView, verdicts: dict[int, tuple[float, Verdict]], shape: tuple[int, ...] = (1, 96)) -> None:
    rows = {}
    for rank, (ratio, verdict) in verdicts.items():
        timing = Timing(1 / ratio, 1.0, Ratio(ratio, ratio * 0.98, ratio * 1.02), verdict)
        rows[key(seen.dense, seen.option((rank,)), shape, TARGET)] = timing
    store(table_path(TARGET), rows)


def test_the_fastest_within_the_error_is_taken() -> None:
    seen = view()
    plant(seen, {8: (1.2, "faster"), 16: (2.0, "faster"), 24: (1.5, "faster"), 32: (1.1, "faster")})
    assert ByClock(0.01).choose(seen) == (16,)


def test_among_ranks_that_the_clock_cannot_tell_apart_the_largest_is_taken() -> None:
    seen = view()
    plant(seen, {8: (2.0, "faster"), 16: (1.99, "faster"), 24: (1.97, "faster"), 32: (1.5, "faster")})
    assert ByClock(0.01).choose(seen) == (24,)


def test_a_rank_below_the_error_is_no_candidate() -> None:
    seen = view(rank=20)
    assert [ranks for (ranks,) in ByClock(0.01).candidates(seen, (1, 96))] == [24, 32]
    assert all(seen.error((ranks,)) <= 0.01 for ranks in (24, 32)) and seen.error((16,)) > 0.01


@pytest.mark.parametrize("verdict", ["slower", "indistinguishable"])
def test_a_layer_that_is_not_measured_faster_stays_dense_and_says_so(verdict: Verdict) -> None:
    seen = view()
    plant(seen, dict.fromkeys((8, 16, 24, 32), (0.5, verdict)))
    answer = ByClock(0.01).choose(seen)
    assert isinstance(answer, Declined) and answer.layer == "fc"
    assert "not measured faster in onnxruntime fp32" in answer.reason and verdict in answer.reason


def test_smaller_is_enough_when_asked() -> None:
    seen = view()
    plant(seen, {8: (1.0, "indistinguishable"), **dict.fromkeys((16, 24, 32), (0.5, "slower"))})
    assert ByClock(0.01, or_smaller=True).choose(seen) == (8,)
    plant(seen, dict.fromkeys((8, 16, 24, 32), (0.5, "slower")))
    assert isinstance(ByClock(0.01, or_smaller=True).choose(seen), Declined)


def test_full_rank_noise_and_unreached_layers_stay_dense() -> None:
    noise = nn.Linear(64, 64)
    seen = linear_view("fc", noise, decompose(torch.eye(64)), (2, 64), torch.zeros(2, 64))
    answer = ByClock(0.01).choose(seen)
    assert isinstance(answer, Declined) and "no rank below" in answer.reason
    unreached = linear_view("fc", noise, decompose(torch.eye(64)), None, torch.zeros(2, 64))
    answer = ByClock(0.01).choose(unreached)
    assert isinstance(answer, Declined) and "does not reach" in answer.reason


def test_shapes_scale_with_the_batch() -> None:
    assert scaled((4, 128, 384), 1, 4) == (1, 128, 384)
    assert scaled((256, 384), 1, 2) == (128, 384)  # a Linear over flattened tokens
    assert scaled((2, 8, 9, 9), 64, 2) == (64, 8, 9, 9)


@pytest.mark.parametrize("max_error", [0.0, 1.0, -0.1])
def test_errors_outside_the_share_are_refused(max_error: float) -> None:
    with pytest.raises(SettingError, match="max_error"):
        ByClock(max_error)


def test_it_survives_yaml_with_its_target() -> None:
    target = Target("openvino", "bf16", batch_size=4)
    recipe = Recipe((WhitenedSvd(rank=ByClock(0.05, target=target, int8=True)), Tucker(rank=ByClock(0.1))))
    assert parse_recipe(to_yaml(recipe)) == recipe


def tiny_task() -> Task:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 4)).eval()
    x = torch.randn(64, 96)
    data = batches(x, x[:, :4].argmax(1), 32)
    return Task(model, x[:2], data, F.cross_entropy, accuracy, calibration=data)


def test_in_a_recipe_one_layer_is_factorized_and_the_slower_one_stays_dense() -> None:
    task = tiny_task()
    rows = {}
    for layer, verdict in ((task.model[0], "faster"), (task.model[2], "slower")):
        parts = decompose(layer.weight.detach())
        seen = linear_view("fc", layer, parts, (1, layer.in_features), task.example_inputs)
        for (rank,) in ByClock(0.5).candidates(seen, (1, layer.in_features)):
            chain: Chain = (Gemm(layer.in_features, rank, False), Gemm(rank, layer.out_features))
            ratio = 2.0 if verdict == "faster" else 0.5
            timing = Timing(1 / ratio, 1.0, Ratio(ratio, ratio, ratio), verdict)  # type: ignore[arg-type]
            rows[key(seen.dense, chain, (1, layer.in_features), TARGET)] = timing
    store(table_path(TARGET), rows)
    candidate = compress(task, Recipe((Svd(rank=ByClock(0.5)),)))
    assert [type(edit) for edit in candidate.edits] == [Factorize] and candidate.edits[0].layer == "0"  # type: ignore[attr-defined]
    assert [declined.layer for declined in candidate.declined] == ["2"]
    assert "not measured faster" in candidate.declined[0].reason


def test_on_the_real_clock_two_calls_for_a_tiny_layer_are_never_faster_than_one() -> None:
    candidate = compress(tiny_task(), Recipe((Svd(rank=ByClock(0.9), include=("2",)),)))
    assert candidate.edits == () and candidate.declined[0].layer == "2"
