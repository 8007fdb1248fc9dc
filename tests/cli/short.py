"""`python -m tests.cli.short ARGS`: the command line as a process of its own, files timed for an instant."""

from __future__ import annotations

from functools import partial
from unittest import mock

from paring.cli import main
from paring.judge.bench import Bench

if __name__ == "__main__":
    with mock.patch("paring.cli.options.Bench", partial(Bench, blocks=4, min_block_ms=0.5)):
        main()
