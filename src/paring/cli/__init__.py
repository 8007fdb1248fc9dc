"""The command line: `paring`."""

from __future__ import annotations

import sys

STOPPED = 130
LEAN = ("serve", "deploy")  # commands of images without torch: they start from an app of their own


def main() -> None:
    """Runs a command; a mistake of the user's is one line and exit code 2 (3: nothing inside the budget)."""
    from rich.markup import escape

    from paring.errors import ParingError

    try:
        if sys.argv[1:2] and sys.argv[1] in LEAN:
            from paring.cli.lean import app
        else:
            from paring.cli.app import app

        app()
    except ParingError as error:
        from paring.cli.consoles import errors

        line = " ".join(str(error).split())
        errors.print(f"[red]{type(error).__name__}:[/red] {escape(line)}", soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as end:  # typer turns Ctrl-C within a command into SystemExit(130)
        if isinstance(end, SystemExit) and end.code != STOPPED:
            raise
        from paring.cli.consoles import errors

        errors.print("Stopped. Whole candidates are kept; the same command goes on from them.", soft_wrap=True)
        sys.exit(STOPPED)
