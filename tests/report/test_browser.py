"""The report in a real browser: Debian's chromium, driven by Playwright, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paring.report.results import Run

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
WIDTHS = (1280, 390)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium"),
    pytest.mark.xdist_group("tiny run"),
]


@pytest.fixture
def report(tiny_run: tuple[Run, Path]) -> Path:
    return tiny_run[1] / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=CHROMIUM, args=list(FLAGS), timeout=60_000
        )
        yield context
        context.close()


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")], ids=str)
def opened(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[tuple[Any, list[str]]]:
    width, scheme = request.param
    page, complaints = browser.new_page(), []
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: complaints.append(asked.url) if asked.url[:5] not in ("file:", "data:") else None)
    page.goto(report.as_uri())
    yield page, complaints
    page.close()


def test_opens_without_a_complaint_and_fits_the_screen(opened: tuple[Any, list[str]], tmp_path: Path) -> None:
    page, complaints = opened
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert (tmp_path / "report.png").stat().st_size > 20_000


def test_plots_are_drawn_inside_their_frames(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    plots = page.locator("svg.plot")
    assert plots.count() == 3
    for index in range(3):
        frame, points = plots.nth(index).bounding_box(), plots.nth(index).locator(".point")
        assert points.count() == 3
        for number in range(3):
            box = points.nth(number).bounding_box()
            assert frame["x"] - 14 <= box["x"] <= frame["x"] + frame["width"]
            assert frame["y"] - 14 <= box["y"] <= frame["y"] + frame["height"]
    assert page.locator("#clock .strip .interval").count() == 2
    assert page.locator("#timings .strip path.own").count() == 3
    assert all(box["height"] > 5 for box in [path.bounding_box() for path in page.locator("path.own").all()])


def test_table_sorts_by_click_and_by_key(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    heading = page.locator("#candidates thead th", has_text="file")
    column = heading.evaluate("cell => cell.cellIndex")

    def sizes() -> list[float]:
        cells = page.locator("#candidates tbody tr").all()
        return [float(row.locator("th, td").nth(column).get_attribute("data-value")) for row in cells]

    before = sizes()
    heading.locator("button").click()
    assert sizes() == sorted(before) != before
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert sizes() == sorted(before, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"


def test_points_answer_to_hover_and_to_arrow_keys(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    tip, plot = page.locator(".tip"), page.locator("svg.plot").first
    assert tip.is_hidden()
    plot.locator('.point[data-name="channels"] .hit').hover(force=True)
    assert tip.is_visible() and "MACs" in tip.inner_text()
    page.mouse.move(0, 0)
    plot.locator('.point[tabindex="0"]').focus()
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert tip.is_visible() and tip.inner_text() != first
    assert plot.locator('.point[tabindex="0"]').count() == 1
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_print_opens_every_fold_and_keeps_every_column(browser: Any, report: Path, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    folds = page.locator("#layers details")
    assert folds.count() == 2 and page.locator("details:not([open])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 1
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.close()


def test_reads_without_javascript(report: Path, browser: Any) -> None:
    context = browser.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("svg.plot .point title").count() == 9
    assert page.locator("h1").inner_text()
    assert page.locator("table button").count() == 0
    context.close()
