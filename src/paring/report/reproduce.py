"""What it takes to get these figures again."""

from __future__ import annotations

from paring.core.measurement import Measurement
from paring.report.html import Child, Html, join, tag
from paring.report.results import Run
from paring.report.words import scaled


def reproduce(run: Run) -> Html:
    """Command, recipes, versions and machine."""
    command = tag("pre", tag("code", run.command), class_="copy") if run.command else None
    recipes = [_recipe(one, run) for one in run.candidates]
    return join(
        command,
        tag("h3", "Recipes"),
        tag("div", *recipes, class_="recipes"),
        tag(
            "div",
            tag("div", tag("h3", "Machine"), _list([(key, plain(key, value)) for key, value in run.machine.items()])),
            tag("div", tag("h3", "Versions"), _list(list(run.versions.items()))),
            class_="facts",
        ),
    )


def recipe_text(one: Measurement, run: Run) -> str:
    """The recipe as YAML; where the candidate's folder was not read, its steps in words."""
    detail = run.details.get(one.name)
    return detail.recipe if detail is not None else "\n".join(f"- {step}" for step in one.recipe)


def plain(key: str, value: object) -> str:
    """One fact about the machine as words."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if key.endswith("_bytes") and isinstance(value, int):
        return scaled(value, "B")
    return str(value)


def _recipe(one: Measurement, run: Run) -> Html:
    name = tag("h4", one.name, tag("small", " chosen") if one.name == run.chosen else None)
    return tag("div", name, tag("pre", tag("code", recipe_text(one, run).strip()), class_="copy"))


def _list(facts: list[tuple[str, str]]) -> Html:
    pairs: list[Child] = []
    for key, value in facts:
        pairs += [tag("dt", key.removesuffix("_bytes").replace("_", " ")), tag("dd", value)]
    return tag("dl", *pairs)
