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
            table[place[-1]] = row | {"commit": commit()}
            results |= about
            self.save(results)
        return results


def commit() -> str:
    """The commit that a row is made at."""
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HOME, check=False
    )
    return told.stdout.strip() or "unknown"
