"""The commands that run where no torch is installed. `paring.cli.app` lists them among the others."""

from __future__ import annotations

import typer

from paring.cli.deploy import deploy
from paring.cli.serve import serve

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(serve)
app.command()(deploy)
