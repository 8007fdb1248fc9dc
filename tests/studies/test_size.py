"""The size study on its stand-in, made small: coded files, and what is said where MNIST is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paring.core.stream import drain
from paring.errors import TaskError
from paring.studies import size
from paring.studies.lenets import LeNet5, lenet5
from paring.studies.size import lenet300_recipes, size_study
from paring.studies.study import run_study
from tests.runs import SHORT


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARING_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_without_mnist_the_digits_are_coded_and_said_to_stand_in(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tuple(one for one in lenet300_recipes(True) if "slope 2e-09" in str(one))
    monkeypatch.setattr(size, "lenet300_recipes", lambda quick: chosen)
    study = size_study(quick=True)
    assert "digits of scikit-learn" in study.about
    result = drain(run_study(study, nowhere / "out", SHORT, "paring study size"))
    base, coded = result.rows
    assert base["name"] == "in floats" and base["num_params"] == 64 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10
    assert coded["coded_bytes"] * 5 < base["file_bytes"] and coded["drop"] < 0.05
    (claim,) = result.claims
    assert f"{coded['coded_bytes']:,} bytes" in claim["ours"]


def test_lenet5_has_the_papers_size_and_answers_ten_classes() -> None:
    net = LeNet5()
    assert sum(p.numel() for p in net.parameters()) == 431_080
    assert net(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_lenet5_without_its_weights_says_where_they_belong(nowhere: Path) -> None:
    with pytest.raises(TaskError, match="lenet5-caffe-mnist"):
        drain(lenet5(nowhere))
