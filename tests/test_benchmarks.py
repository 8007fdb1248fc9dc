"""What the benchmarks publish says nothing of the machine's folders."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

HOME = Path(__file__).parents[1] / "benchmarks"
FOLDER = re.compile(r"(?<![\w.:/])/(?:work|home|root|tmp|opt|mnt|srv|usr|Users)/\S*")


def reasons() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quantize_reasons", HOME / "quantize_reasons.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("said", "published"),
    [
        ("/a/b/out/nncf.onnx: failed at src/core/pass.cpp:71", "nncf.onnx: failed at src/core/pass.cpp:71"),
        ("Command '['/root/.cache/bin/python', '/a/b.py']' timed out", "Command '['python', 'b.py']' timed out"),
        ("see https://docs.openvino.ai/a/b and/or 3/4", "see https://docs.openvino.ai/a/b and/or 3/4"),
    ],
)
def test_a_reason_names_files_and_no_folders(said: str, published: str) -> None:
    assert reasons().reason(RuntimeError(said)) == published


@pytest.mark.parametrize("page", sorted([*HOME.glob("*.md"), *HOME.glob("results/*.json")]), ids=lambda page: page.name)
def test_no_page_or_row_holds_a_folder_of_this_machine(page: Path) -> None:
    assert FOLDER.findall(page.read_text(encoding="utf-8")) == []
