"""Every paper that a technique cites stands in docs/bibliography.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paring.catalog import OBJECTIVES, PASSES
from paring.cli.explain import describe

ROOT = Path(__file__).parents[1]
BIBLIOGRAPHY = (ROOT / "docs" / "bibliography.md").read_text(encoding="utf-8")
WITHOUT_PAPER = {"finetune", "supervised"}


@pytest.mark.parametrize("name", [*PASSES, *OBJECTIVES])
def test_a_technique_names_its_paper(name: str) -> None:
    paper = describe(name)["paper"]
    assert (paper is None) == (name in WITHOUT_PAPER)


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda path: path.stem)
def test_every_identifier_cited_in_the_code_is_listed(path: Path) -> None:
    cited = re.findall(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,}/[\w./()-]*\w", path.read_text(encoding="utf-8"))
    assert [one for one in cited if one not in BIBLIOGRAPHY] == []
