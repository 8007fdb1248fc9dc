"""The log: one JSON object a line on stderr, written by a thread of its own so that a slow reader slows no request."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from typing import IO, Any

MOST = 10_000  # lines that may wait; further ones are counted and dropped


class Journal:
    """Say `journal("loaded", model="encoder", version="3f2a")`. Levels: all, events (no line a request), none."""

    def __init__(self, level: str = "all", to: IO[str] | None = None) -> None:
        self.level = level
        self.to = to or sys.stderr
        self.dropped = 0
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def __call__(self, event: str, **fields: Any) -> None:
        """Notes an event; fields are plain values."""
        if self.level == "none" or (self.level == "events" and event == "request"):
            return
        if len(self._lines) >= MOST:
            self.dropped += 1
            return
        self._lines.append(json.dumps({"time": round(time.time(), 4), "event": event, **fields}) + "\n")
        self._wake.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Writes what waits, and ends."""
        self._closed = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _write(self) -> None:
        while not (self._closed and not self._lines):
            self._wake.wait()
            self._wake.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            try:
                self.to.write("".join(lines))
                self.to.flush()
            except (OSError, ValueError):  # whoever read has gone
                self._lines.clear()
            if self._closed and not self._lines:
                return
