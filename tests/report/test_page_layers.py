"""Layer by layer: shapes, sparsity, bits, ranks, and bytes that add up to the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paring.core.edit import Edit
from paring.judge.record import NODES
from paring.report.layers import edits_by_layer, natural
from paring.report.results import Run
from paring.report.weights import layer_bytes, owner
from paring.store import load_candidate

pytestmark = pytest.mark.xdist_group("tiny run")


@pytest.fixture
def run(tiny_run: tuple[Run, Path]) -> Run:
    return tiny_run[0]


@pytest.fixture
def folder(tiny_run: tuple[Run, Path]) -> Path:
    return tiny_run[1]


def test_run_folder_holds_the_three_reports(run: Run, folder: Path) -> None:
    assert {"results.json", "report.html", "report.md"} <= {path.name for path in folder.iterdir()}


def test_removed_channels_show_in_shapes_and_bytes(run: Run) -> None:
    conv, first, last = run.details["channels"].layers
    assert (conv.name, first.name, last.name) == ("0", "3", "5")
    assert conv.before == ((8, 1, 3, 3),) and conv.after == ((4, 1, 3, 3),)
    assert "keeps 4 channels" in conv.edits and "reads what 0 keeps" in first.edits
    assert first.bytes_after is not None and first.bytes_before is not None and first.bytes_after < first.bytes_before
    assert [entry.layer for entry in run.details["channels"].declined] == ["5"]


def test_integer_layers_say_their_bits_and_take_a_quarter(run: Run) -> None:
    layer = run.details["int8"].layers[1]
    assert layer.bits == "8" and "8-bit weight" in layer.edits and "8-bit input" in layer.edits
    assert layer.bytes_before is not None and layer.bytes_after is not None
    assert layer.bytes_after < 0.5 * layer.bytes_before
    assert layer.nonzeros <= 128 * 16 and layer.sparsity == pytest.approx(1 - layer.nonzeros / (128 * 16))


def test_bytes_of_all_layers_stay_below_the_file_and_near_it(run: Run, folder: Path) -> None:
    for path in (folder / "candidates").iterdir():
        nodes = json.loads((path / NODES).read_text())
        found = layer_bytes(path / "model.onnx", nodes, ["0", "3", "5"])
        size = (path / "model.onnx").stat().st_size
        assert 0 < sum(found.values()) <= size
        assert {"0", "3", "5"} <= found.keys()
        assert load_candidate(path).state


def test_owner_is_the_longest_layer_that_fits() -> None:
    layers = ["encoder", "encoder.1", "encoder.10"]
    assert owner("encoder.10.weight", layers) == "encoder.10"
    assert owner("encoder.1.0.weight", layers) == "encoder.1"
    assert owner("head.weight", layers) == ""


def test_edits_without_words_of_their_own_are_still_told() -> None:
    class Unheard(Edit):
        def to_json(self) -> dict[str, object]:
            return {"edit": "ShareWeight", "layer": "fc", "num_centroids": 16, "kept": list(range(100))}

        def apply(self, model: object) -> object:  # type: ignore[override]
            return model

    del Edit.kinds["Unheard"]
    assert edits_by_layer([Unheard()], ["fc"])["fc"][0][1] == "share weight, num_centroids 16"


def test_layers_sort_as_people_count() -> None:
    assert sorted(["layer.10.w", "layer.9.w", "layer.1.w"], key=natural) == ["layer.1.w", "layer.9.w", "layer.10.w"]
