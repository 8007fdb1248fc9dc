"""Where words go: results to stdout, the rest to stderr. Needs no torch."""

from __future__ import annotations

import sys

from rich.console import Console

NARROWEST = 132  # columns in a pipe or a log, where no terminal says how wide it is
console = Console() if sys.stdout.isatty() else Console(width=NARROWEST)
errors = Console(stderr=True)
