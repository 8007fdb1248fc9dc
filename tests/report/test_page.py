"""The page as text: whole, escaped, self-contained, and honest in what it says."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from paring.errors import BudgetError
from paring.report.html import Html, join, tag
from paring.report.page import page
from paring.report.results import Run, results, verdict_sentence
from tests.report.runs import made_up, made_up_detail, measured

LIMIT = 6_000_000  # bytes
NEVER_CLOSED = {"meta", "link", "br", "rect", "circle", "line", "path"}


class Outline(HTMLParser):
    """Notes tags that do not nest, links, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[key] for key in ("href", "src", "srcset", "action") if key in given]
        if name in ("h1", "h2", "h3", "h4"):
            self.headings.append(name)
        if name not in ("meta", "link"):
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        if not self.open or self.open.pop() != name:
            self.faults.append(name)


def full_run() -> Run:
    fast, slow = measured("fast one", ratio=2.0, drop=0.01, file_bytes=1500), measured("slow one", ratio=0.8, drop=0.05)
    return made_up(fast, slow, chosen="fast one", details={"fast one": made_up_detail(), "slow one": made_up_detail()})


def test_elements_nest_and_ids_are_unique() -> None:
    outline = Outline(page(full_run()))
    assert outline.faults == [] and outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.headings.count("h1") == 1 and outline.headings.count("h2") >= 6


def test_nothing_is_fetched() -> None:
    text = page(full_run())
    assert all(link.startswith(("#", "data:")) for link in Outline(text).links)
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", text)
    assert "default-src 'none'" in text


def test_verdict_stands_first_and_holds_the_figures() -> None:
    text = page(full_run())
    headline = text[text.index("<h1") : text.index("</h1>")]
    assert re.sub(r"<[^>]*>", "", headline) == verdict_sentence(full_run())
    assert "2.00 times faster" in headline and "2.7 times smaller" in headline and "0.0100 worse" in headline


def test_names_and_reasons_are_escaped() -> None:
    evil = '<script>alert("x")</script>'
    detail = replace(made_up_detail(), recipe=f"passes: [{evil}]")
    text = page(made_up(measured(evil), chosen=evil, details={evil: detail}))
    assert evil not in text and Outline(text).faults == []
    assert text.count("<script>") == 1


def test_without_a_choice_it_says_what_blocks() -> None:
    run = replace(made_up(measured("one", drop=0.1)), miss=str(BudgetError("one misses max_metric_drop")))
    text = page(run)
    assert "No candidate stays inside the budget" in text and "one misses max_metric_drop" in text


def test_without_details_or_candidates_there_is_still_a_page() -> None:
    for run in (made_up(), made_up(measured("one"), chosen="one")):
        text = page(run)
        assert Outline(text).faults == []
        assert "No raw timings are kept" in text and "No edit log is kept" in text


def test_says_faster_only_of_what_was_found_faster() -> None:
    text = page(made_up(measured("same", ratio=1.0), chosen="same"))
    main = text[text.index("<body") : text.index('<section id="reproduce"')]
    said = re.sub(r"<[^>]*>", " ", main.replace("Faster, or noise?", ""))
    assert "faster" not in said and "indistinguishable" in said


def test_slower_gives_factor_and_interval_the_same_way_round() -> None:
    sentence = verdict_sentence(made_up(measured("slow", ratio=0.5), chosen="slow"))
    factor, low, high = (float(found) for found in re.findall(r"\d\.\d\d", sentence)[:3])
    assert "slower" in sentence and low < factor == 2.0 < high


def test_what_was_declined_and_why_is_listed() -> None:
    text = page(full_run())
    assert "<code>head</code>: its weight is shared with embed" in text


def test_a_large_search_stays_small() -> None:
    names = [f"prune.channels + finetune + quantize.static {number}" for number in range(60)]
    found = [measured(name, ratio=1 + number / 20, drop=number / 1000) for number, name in enumerate(names)]
    run = made_up(*found, chosen=names[10], details={name: made_up_detail(150) for name in names})
    text = page(run)
    assert len(text.encode()) < LIMIT
    assert "Too many to list here" in text and f"Layers of {names[10]}" in text


def test_results_only_gain_keys() -> None:
    data = results(full_run())
    assert data["budget"]["max_metric_drop"] == 0.02 and data["higher_is_better"] is True
    assert {"format", "task", "command", "machine", "versions", "baseline", "chosen", "rows"} <= data.keys()
    assert "details" not in data


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tag("td", "a < b", class_="num"), '<td class="num">a &lt; b</td>'),
        (tag("p", Html("<b>x</b>"), None, title='"'), '<p title="&quot;"><b>x</b></p>'),
        (tag("details", open=True, hidden=False, id=None), "<details open></details>"),
        (join("1 & 2", tag("i")), "1 &amp; 2<i></i>"),
    ],
)
def test_html_escapes_text_and_keeps_markup(made: Html, expected: str) -> None:
    assert made == expected
