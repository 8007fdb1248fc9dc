"""Where words go while results are made for a program."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent, indent

import pytest

TALK = """
import ctypes, sys
from paring.cli.consoles import stdout_for_results

def said(words):
    ctypes.CDLL(None).puts(words.encode())  # as a solver written in C does
    print(words, "in Python")
"""


def ran(script: str, *, before: str = "") -> tuple[list[str], str]:
    """Lines of stdout, and stderr, of a process of its own: the streams of tests are not the files beneath them."""
    done = subprocess.run(
        [sys.executable, "-c", before + TALK + dedent(script)], capture_output=True, text=True, check=False
    )
    return sorted(done.stdout.splitlines()), done.stderr


posix = pytest.mark.skipif(os.name != "posix", reason="C's own stdout is reached by POSIX's name")
NESTED = """
with stdout_for_results(), stdout_for_results():
    said("meanwhile")
"""


@posix
def test_what_is_printed_meanwhile_is_not_among_results() -> None:
    out, words = ran(f"said('before'){NESTED}said('after')")
    assert out == ["after", "after in Python", "before", "before in Python"]
    assert sorted(words.splitlines()) == ["meanwhile", "meanwhile in Python"]


@posix
def test_an_error_gives_stdout_back() -> None:
    failing = f"try:{indent(NESTED, '    ')}        1 / 0\nexcept ZeroDivisionError:\n    said('after')"
    out, words = ran(failing)
    assert out == ["after", "after in Python"]
    assert sorted(words.splitlines()) == ["meanwhile", "meanwhile in Python"]


@posix
def test_without_stderr_nothing_is_sent_elsewhere() -> None:
    out, words = ran(NESTED, before="import sys; sys.stderr = None\n")
    assert out == ["meanwhile", "meanwhile in Python"] and words == ""


@posix
def test_a_command_for_programs_keeps_stdout_for_its_json() -> None:
    script = """
    from paring.cli.render import follow

    def steps():
        said("while it works")
        yield
        return 3

    print({"answer": follow(steps(), quiet=True)})
    """
    out, words = ran(script)
    assert out == ["{'answer': 3}"]
    assert sorted(words.splitlines()) == ["while it works", "while it works in Python"]
