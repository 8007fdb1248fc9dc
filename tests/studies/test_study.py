"""A study is runs of the library's own verbs, written as one page, its tables and its figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest

from paring import Recipe, Task
from paring.core.edit import Progress
from paring.core.stream import drain
from paring.errors import UnknownNameError
from paring.finetune import Finetune
from paring.prune.channels import Channels
from paring.prune.magnitude import Magnitude
from paring.quantize.static import Static
from paring.studies.conversion import conversion_study
from paring.studies.layers_look import epochs, ways, zeros
from paring.studies.mnist import mnist_study
from paring.studies.movies import movies_study
from paring.studies.size import size_study
from paring.studies.study import Claim, Part, Study, StudyResult, run_study
from paring.studies.text import text_study
from tests.runs import SHORT, tiny_task


def prepared() -> Generator[Progress, None, Task]:
    yield Progress(1, 1, "there already")
    return tiny_task()


STUDY = Study(
    "made-up",
    "A made-up study",
    "Two recipes on a tiny net.",
    (
        Part("first part", prepared, (Recipe((Static(),), "int8"),), {"baseline": "teacher"}),
        Part("second", prepared, (Recipe((Magnitude(sparsity=0.5),), "zeros"),)),
    ),
    (
        Claim("first part: int8", "a quarter", lambda row, base: f"{row['file_bytes']} bytes", lambda row, base: True),
        Claim("second: zeros", "no smaller", lambda row, base: "as large", lambda row, base: False),
        Claim("second: nothing", "not there", lambda row, base: "", lambda row, base: True),
    ),
)


@pytest.fixture(scope="module", name="out")
def _out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyResult]:
    folder = tmp_path_factory.mktemp("study")
    return folder, drain(run_study(STUDY, folder, SHORT, "paring study made-up"))


def test_rows_of_all_parts_and_claims_stand_in_results(out: tuple[Path, StudyResult]) -> None:
    folder, _ = out
    told = json.loads((folder / "results.json").read_text())
    assert [(row["part"], row["name"]) for row in told["rows"]] == [
        ("first part", "teacher"), ("first part", "int8"), ("second", "baseline"), ("second", "zeros"),
    ]  # fmt: skip
    assert [claim["met"] for claim in told["claims"]] == [True, False, None]
    assert told["claims"][0]["ours"] == f"{told['rows'][1]['file_bytes']} bytes"


def test_measured_again_nothing_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part("once", prepared, (Recipe((Static(),), "int8"),))
    study = Study("again", "Again", "One recipe.", (part,))
    drain(run_study(study, tmp_path, SHORT))
    candidates = tmp_path / "once" / "candidates"
    weights = {path: path.read_bytes() for path in candidates.glob("*/weights.safetensors")}
    for path in candidates.glob("*/samples.npz"):
        path.unlink()
    monkeypatch.setattr("paring.run.compress_steps", lambda *_: pytest.fail("made again"))
    drain(run_study(study, tmp_path, SHORT))
    assert not list(candidates.glob("*/samples.npz"))
    drain(run_study(study, tmp_path, SHORT, anew=True))
    assert len(list(candidates.glob("*/samples.npz"))) == 2
    assert {path: path.read_bytes() for path in weights} == weights


def test_the_pages_hold_every_row_and_link_the_parts(out: tuple[Path, StudyResult]) -> None:
    folder, _ = out
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for words in ("int8", "zeros", "a quarter", "not met", "not run", "paring study made-up"):
        assert words in page and words in text
    assert 'href="first-part/report.html"' in page and (folder / "first-part" / "report.html").is_file()
    assert "http" not in page.replace("http://www.w3.org", "")


def test_tables_and_figures_are_files(out: tuple[Path, StudyResult]) -> None:
    folder, _ = out
    rows = list(csv.DictReader((folder / "latency_results" / "latency.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["teacher", "int8", "baseline", "zeros"]
    assert all(float(row["p50_ms"]) > 0 for row in rows)
    figure = (folder / "other_figures" / "second-metric-against-bytes.svg").read_text()
    assert figure.startswith("<svg") and 'xmlns="http://www.w3.org/2000/svg"' in figure and "<style>" in figure


def test_a_second_run_repeats_nothing(out: tuple[Path, StudyResult]) -> None:
    folder, _ = out
    written = {path: path.stat().st_mtime_ns for path in folder.glob("*/candidates/*/model.onnx")}
    drain(run_study(STUDY, folder, SHORT, "paring study made-up"))
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/candidates/*/model.onnx")} == written


def test_every_claim_of_the_shipped_studies_names_a_row_that_is_run() -> None:
    for study in (
        *(made(quick=quick) for made in (size_study, movies_study) for quick in (True, False)),
        *(mnist_study(quick=True), mnist_study(), text_study(quick=True), text_study()),
        *(conversion_study(quick=quick, logs=("online-shoppers", "hillstrom")) for quick in (True, False)),
    ):
        rows = {
            f"{part.name}: {name}"
            for part in study.parts
            for name in (part.names.get("baseline", "baseline"), *(str(recipe) for recipe in part.recipes))
        }
        assert {claim.row for claim in study.claims} <= rows


def test_looks_show_zeros_layer_by_layer_and_every_epoch(tmp_path: Path) -> None:
    recipes = (
        Recipe((Magnitude(sparsity=0.5), Finetune(epochs=2)), "zeros"),
        Recipe((Channels(pruning_ratio=0.5),), "narrow"),
    )
    looks = {"zeros": zeros, "epochs": epochs, "ways": partial(ways, ("zeros", "narrow"))}
    part = Part("a part", prepared, recipes, {"baseline": "dense"}, looks)
    result = drain(run_study(Study("made-up", "Made up", "About.", (part,)), tmp_path, SHORT))
    *layers, whole = result.sheets["a part zeros"].rows
    assert [row["layer"] for row in layers] == ["0", "2"] and whole["layer"] == "all"
    assert whole["weights"] == 8 * 16 + 16 * 3 == sum(row["weights"] for row in layers)
    assert whole["nonzeros"] == whole["weights"] // 2 and whole["factor"] == pytest.approx(2)
    rows = 16 + 3 + 2  # row starts of both layers
    assert whole["dense"] == 4 * whole["weights"] and whole["csr"] == 8 * whole["nonzeros"] + 4 * rows
    assert whole["values"] == 4 * whole["nonzeros"] < whole["csr"]
    assert [(row["name"], row["epoch"]) for row in result.sheets["a part epochs"].rows] == [("zeros", 1), ("zeros", 2)]
    first, second = result.sheets["a part ways"].rows
    assert first["file"] == pytest.approx(1, abs=0.05) and second["file"] > 1.1
    assert second["params"] < first["params"]
    assert (tmp_path / "other_figures" / "a part zeros.csv").is_file()


def test_an_unknown_study_names_the_nearest() -> None:
    from paring.cli.study import Asked, study_of

    with pytest.raises(UnknownNameError, match="did you mean 'mnist'"):
        study_of("minst", Asked(quick=True))
