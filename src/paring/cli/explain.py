"""What a technique is: its settings, its paper, what it needs."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import Any

from paring.catalog import OBJECTIVES, PASSES, objective_class, pass_class
from paring.errors import UnknownNameError
from paring.settings import plain, value_classes

SHARED = ("include", "exclude", "on_unsupported")
CITATION = re.compile(r" \([^()]*(?:arXiv:|doi:)[^()]*\)")
PAPER = re.compile(r"Reference: (.+?\S(?:\d|v\d))\.?(?: [A-Z]|$)|\(([^()]*(?:arXiv:|doi:)[^()]*)\)")


def all_techniques() -> list[dict[str, Any]]:
    """One description per pass and objective, in the catalog's order."""
    return [describe(name) for name in (*PASSES, *OBJECTIVES)]


def describe(name: str) -> dict[str, Any]:
    """Name, kind, summary, paper, needs, settings and the passes it cannot follow. Raises UnknownNameError."""
    if name in PASSES:
        cls: type[Any] = pass_class(name)
        kind = "pass"
    elif name in OBJECTIVES:
        cls, kind = objective_class(name), "objective"
    else:
        raise UnknownNameError("technique", name, [*PASSES, *OBJECTIVES])
    text = " ".join((cls.__doc__ or "").split())
    paper = PAPER.search(text)
    return {
        "name": name,
        "kind": kind,
        "summary": summary_of(text),
        "description": text,
        "paper": (paper.group(1) or paper.group(2)) if paper else None,
        "needs": sorted(cls.needs),
        "structural": getattr(cls, "structural", None),
        "settings": settings_of(cls),
        "cannot_follow": dict(getattr(cls, "cannot_follow", {})),
    }


def summary_of(text: str) -> str:
    """The first sentence, without its citation."""
    return re.split(r"(?<=\.)\s", CITATION.sub("", text))[0]


def settings_of(cls: type[Any]) -> list[dict[str, Any]]:
    """Name, type, default and allowed values of every setting; the ones every pass has come last."""
    from typing import get_type_hints

    hints = get_type_hints(cls)
    rows = []
    for field in sorted(fields(cls), key=lambda field: field.name in SHARED):
        default = field.default if field.default is not MISSING else None
        if field.default_factory is not MISSING:
            default = field.default_factory()
        choices = sorted(value_classes(hints[field.name]))
        kind = re.sub(r"typing\.|paring\.[a-z_.]+\.|<class '|'>", "", str(hints[field.name]))
        rows.append({"name": field.name, "type": kind, "default": plain(default), "choices": choices or None})
    return rows
