"""Calls the command line in this process, with a short clock."""

from __future__ import annotations

import io
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

from paring.cli import main
from paring.judge.bench import Bench


@dataclass(frozen=True)
class Call:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def only_line(self) -> str:
        """The one line on stderr."""
        assert "Traceback" not in self.err
        [line] = self.err.splitlines()
        return line


def paring_in(folder: Path, *args: str) -> Call:
    """`paring ARGS` run in `folder`, files timed for an instant."""
    short = mock.patch("paring.cli.options.Bench", partial(Bench, blocks=4, min_block_ms=0.5))
    quiet = mock.patch("paring.cli.render.LOG_EVERY_S", 1e9)
    call = mock.patch.multiple(sys, argv=["paring", *args], path=list(sys.path))
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with short, quiet, call, chdir(folder), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Call(code, out.getvalue(), err.getvalue())


def written(folder: Path) -> set[str]:
    """Every file under `folder`, compiled Python left out."""
    names = {os.path.relpath(path, folder) for path in folder.rglob("*")}
    return {name for name in names if "__pycache__" not in name}
