"""What the guide shows runs as it stands, page by page; its links and its names exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paring import Task, batches
from paring.catalog import OBJECTIVES, PASSES
from paring.measure.metrics import accuracy

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FAMILIES = ("prune", "factorize", "quantize", "share", "distill", "student")


def make_task() -> Task:
    """What the pages call a task: a small net that has learned something."""
    torch.manual_seed(0)
    x = torch.randn(400, 20)
    y = x.reshape(-1, 4, 5).sum(2).argmax(1)
    net = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 4)).eval()
    data = batches(x, y, 50)
    return Task(
        model=net, example_inputs=x[:2], train=batches(x, y, 50, shuffle=True), calibration=data, validation=data,
        test=data, loss=F.cross_entropy, metric=accuracy,
    )  # fmt: skip


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "guide"], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    module = ModuleType("guide_page")
    module.make_task = make_task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, page.name, "exec"), module.__dict__)
    assert capsys.readouterr().out.strip() or "print(" not in code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_techniques_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(FAMILIES)})\.[a-z_]+)", page.read_text(encoding="utf-8"))
    assert set(named) <= set(PASSES) | set(OBJECTIVES)


def test_every_page_is_in_the_navigation() -> None:
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert [str(page.relative_to(DOCS)) for page in PAGES if str(page.relative_to(DOCS)) not in navigation] == []
