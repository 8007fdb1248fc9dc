"""The rows of a benchmark: results/NAME.json, and the page NAME.md that is written from it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent
PEERS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "paring" / "peers"  # their environments


@dataclass(frozen=True)
class Kept:
    """`parts` are the tables of the file, row name -> row."""

    name: str
    page: Callable[[dict[str, Any]], str]
    parts: tuple[str, ...] = ("rows",)

    @property
    def path(self) -> Path:
        """The JSON file."""
        return HOME / "results" / f"{self.name}.json"

    def load(self) -> dict[str, Any]:
        """What there is; empty tables without a file."""
        return json.loads(self.path.read_text()) if self.path.is_file() else {part: {} for part in self.parts}

    def save(self, results: dict[str, Any]) -> None:
        """Writes the file whole, then the page."""
        self.path.parent.mkdir(exist_ok=True)
        unfinished = self.path.with_suffix(".partial")
        unfinished.write_text(json.dumps(results, indent=1) + "\n")
        unfinished.replace(self.path)
        (HOME / f"{self.name}.md").write_text(self.page(results))

    def add(self, row: dict[str, Any], *place: str, **about: Any) -> dict[str, Any]:
        """Puts a row at its place (part, name) in the file as it stands now: another process may write to it too."""
        self.path.parent.mkdir(exist_ok=True)
        with open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            results = self.load()
            table = results
            for part in place[:-1]:
                table = table.setdefault(part, {})
            table[place[-1]] = row | {"commit": commit()} | placed(results, about)
            results |= {key: value for key, value in about.items() if key not in ABOUT or key not in results}
            self.save(results)
        return results


ABOUT = ("machine", "versions")  # of the first row; a row of another machine says so itself


def placed(results: dict[str, Any], about: dict[str, Any]) -> dict[str, str]:
    """{"where": the machine} for a row that is made on another one than the first row of its file."""
    here, first = _where(about), _where(results)
    return {} if here is None or first is None or here == first else {"where": here}


def _where(about: dict[str, Any]) -> str | None:
    """The processor with its instructions (names alone are shared by several), and the GPU where there is one."""
    if "machine" not in about:
        return None
    here = about["machine"]
    return ", ".join([here["cpu"], *here["flags"], *([here["gpu"]] if "gpu" in here else [])])


def elsewhere(rows: dict[str, dict[str, Any]], key: str = "where", verb: str = "Made") -> str:
    """Which rows were made on which other machine; nothing where all were made on the same."""
    found: dict[str, list[str]] = {}
    for name, row in rows.items():
        if key in row:
            found.setdefault(row[key], []).append(name)
    return "\n".join(f"{verb} on another machine ({where}): {'; '.join(names)}." for where, names in found.items())


def machine() -> dict[str, Any]:
    """What a measurement depends on, the GPU included."""
    import torch

    from paring.engines import machine as processor

    return processor() | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def commit() -> str:
    """The commit that a row is made at, with a + where what makes it has changed since."""

    def told(*call: str) -> str:
        return subprocess.run(["git", *call], capture_output=True, text=True, cwd=HOME, check=False).stdout.strip()

    changed = told("status", "--porcelain", "--untracked-files=no", "../src", "*.py")
    return (told("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
