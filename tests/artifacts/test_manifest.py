from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from paring.artifacts.manifest import read_manifest, verify_artifact, write_manifest
from paring.errors import CorruptFileError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "notes.txt").write_text("notes")
    edits = [{"edit": "QuantizeInput", "layer": "fc"}]
    write_manifest(tmp_path, recipe=["quantize.static"], edits=edits, machine={"cpu": "x"}, measurements={"drop": 0.1})
    return tmp_path


def test_manifest_says_what_is_there(folder: Path) -> None:
    manifest = verify_artifact(folder)
    assert manifest == read_manifest(folder)
    assert manifest["files"]["model.onnx"] == {"sha256": hashlib.sha256(b"weights").hexdigest(), "bytes": 7}
    assert set(manifest["files"]) == {"model.onnx", "more/notes.txt"}
    assert manifest["measurements"] == {"drop": 0.1} and manifest["edits"][0]["layer"] == "fc"
    assert manifest["versions"]["torch"] and manifest["machine"] == {"cpu": "x"}


def test_writing_again_counts_the_manifest_out(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    write_manifest(
        folder, recipe=["quantize.static"], edits=[{"edit": "QuantizeInput", "layer": "fc"}], machine={"cpu": "x"},
        measurements={"drop": 0.1},
    )  # fmt: skip
    assert (folder / "manifest.json").read_bytes() == before


def test_a_changed_or_missing_file_is_named(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"Weights")
    with pytest.raises(CorruptFileError, match=r"model\.onnx: it is not the file that was exported"):
        verify_artifact(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(CorruptFileError, match=r"model\.onnx: the manifest lists it, and it is missing"):
        verify_artifact(folder)


def test_what_is_no_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="is no artifact folder"):
        read_manifest(tmp_path)
    for content, message in (("{", "not JSON"), ("[]", "it has no format"), ("{}", "it has no format, files")):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(CorruptFileError, match=message):
            read_manifest(tmp_path)
    later = dict.fromkeys(("files", "recipe", "edits", "versions", "machine")) | {"format": 99}
    (tmp_path / "manifest.json").write_text(json.dumps(later))
    with pytest.raises(CorruptFileError, match="its format is 99"):
        read_manifest(tmp_path)


def test_needs_no_torch() -> None:
    code = "import sys, paring.artifacts.manifest; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
