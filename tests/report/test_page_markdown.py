"""report.md: a table that GitHub renders, and the whole recipe."""

from __future__ import annotations

from dataclasses import replace

from paring.report.markdown import markdown
from paring.report.results import verdict_sentence
from tests.report.runs import made_up, made_up_detail, measured


def test_verdict_table_declined_and_recipe() -> None:
    fast = measured("fast | one", ratio=2.0, file_bytes=1500)
    run = made_up(fast, measured("poor", drop=0.1), chosen=fast.name, details={fast.name: made_up_detail()})
    text = markdown(run)
    assert verdict_sentence(run) in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 3
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "**fast \\| one**" in text and "poor (outside the budget)" in text
    assert "- fast | one: `head`: its weight is shared with embed" in text
    assert "```yaml\n# fast | one\npasses:" in text and "paring demo" in text
    assert text.count("<details>") == text.count("</details>") == 1


def test_a_refused_engine_is_named() -> None:
    broken = replace(measured("small"), refused={"openvino fp32": "small | differs by 3"})
    assert "Not run there:\n\n- small on openvino fp32: small \\| differs by 3" in markdown(made_up(broken))
    assert "Not run there" not in markdown(made_up(measured("small")))
