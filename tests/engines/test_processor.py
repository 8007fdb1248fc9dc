from __future__ import annotations

import json
from pathlib import Path

import pytest

from paring.engines import processor as room

XEON = (
    "processor\t: 0\nmodel name\t: Xeon Gold\nflags\t\t: avx2 avx512f avx512_vnni avx512_bf16 amx_bf16\n\n"
    "processor\t: 1\nflags\t\t: none\n"
)
ZEN3 = "processor\t: 0\nmodel name\t: EPYC 7003\nflags\t\t: fpu avx2 fma vpclmulqdq\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd fphp asimddp bf16\n"


def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, architecture: str = "x86_64") -> None:
    source = tmp_path / "cpuinfo"
    source.write_text(text)
    info = room.cpu_info.__wrapped__(str(source))
    monkeypatch.setattr(room, "cpu_info", lambda: info)
    monkeypatch.setattr(room.platform, "machine", lambda: architecture)


@pytest.mark.parametrize(
    ("text", "architecture", "vnni", "precisions"),
    [
        (XEON, "x86_64", True, ("fp32", "bf16")),
        (ZEN3, "x86_64", False, ("fp32",)),
        (ARM, "aarch64", True, ("fp32", "bf16", "fp16")),
    ],
)
def test_what_a_processor_can_do(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str,
    architecture: str,
    vnni: bool,
    precisions: tuple[str, ...],
) -> None:
    pretend(monkeypatch, tmp_path, text, architecture)
    assert room.has_vnni() is vnni
    assert room.cpu_precisions() == precisions


def test_the_manifest_names_the_processor_and_the_flags_that_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, ZEN3)
    told = room.machine()
    assert (told["cpu"], told["flags"]) == ("EPYC 7003", ["avx2", "fma"])
    assert 1 <= told["usable_cores"] <= told["cores"]
    assert told["memory_bytes"] > 2**20
    assert json.loads(json.dumps(told)) == told


def test_a_system_without_cpuinfo_has_no_flags(tmp_path: Path) -> None:
    model, flags = room.cpu_info.__wrapped__(str(tmp_path / "absent"))
    assert model and flags == frozenset()
