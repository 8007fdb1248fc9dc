"""`serve.md` from the rows of `serve.json`."""

from __future__ import annotations

from typing import Any

HEAD = """# Serving

Written from `results/serve.json` by `python benchmarks/serve.py`. Rows that need a quiet machine are run with `--time`;
those not listed below have not been run yet.

{machine}, {versions}.

| row | figures | commit |
|---|---|---|
"""


def page(results: dict[str, Any]) -> str:
    """The page."""
    named = ", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items())
    lines = [HEAD.format(machine=results.get("machine", {}).get("cpu", "no machine yet"), versions=named)]
    for name, row in results["rows"].items():
        figures = "; ".join(_told(key, value) for key, value in row.items() if key not in ("commit", "cores", "rungs"))
        lines.append(f"| {name} | {figures} | {row['commit']} |\n")
    return "".join(lines)


def _told(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{key} {value:.4g}"
    if isinstance(value, dict):
        return f"{key}: " + ", ".join(_told(inner, one) for inner, one in value.items() if not isinstance(one, list))
    if isinstance(value, list):
        return f"{key}: " + " / ".join(_told("", one).strip() for one in value)
    return f"{key} {value}"
