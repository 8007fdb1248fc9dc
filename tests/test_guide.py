"""What the guide shows runs as it stands, page by page; its links, names and benchmark pages exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import jupytext
import nbformat
import pytest

from paring.catalog import OBJECTIVES, PASSES
from paring.measure.peaks import known_peaks

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN = [page for page in PAGES if page.parent.name in ("guide", "engines")]
FAMILIES = ("prune", "factorize", "quantize", "share", "distill", "student")


def blocks(page: Path) -> list[str]:
    """The Python of a page, block by block."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "\n".join(blocks(page))
    module = ModuleType("guide_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.syspath_prepend(DOCS)  # where small_task.py lies
    monkeypatch.chdir(tmp_path)
    if known_peaks() is None:  # those that a page measures beside other tests are not worth keeping
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exec(compile(code, page.name, "exec"), module.__dict__)
    assert capsys.readouterr().out.strip() or "print(" not in code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_a_notebook_whose_cells_are_the_blocks_that_run(page: Path) -> None:
    notebook = jupytext.read(page)
    nbformat.validate(notebook)
    there_and_back = nbformat.reads(nbformat.writes(notebook), as_version=4)
    cells = [cell.source for cell in there_and_back.cells if cell.cell_type == "code"]
    assert cells == [block.rstrip("\n") for block in blocks(page)]
    assert re.findall(r"^```python\n(.*?)^```$", jupytext.writes(there_and_back, "md"), re.DOTALL | re.MULTILINE) == (
        blocks(page)
    )


def test_notebooks_can_lie_side_by_side() -> None:
    assert len({page.name for page in PAGES}) == len(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_techniques_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(FAMILIES)})\.[a-z_]+)", page.read_text(encoding="utf-8"))
    assert set(named) <= set(PASSES) | set(OBJECTIVES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_that_figures_come_from_exist(page: Path) -> None:
    named = set(re.findall(r"benchmarks/\w+\.(?:md|py)", page.read_text(encoding="utf-8")))
    assert [one for one in sorted(named) if not (ROOT / one).is_file()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [str(page.relative_to(DOCS)) for page in PAGES if str(page.relative_to(DOCS)) not in navigation] == []
