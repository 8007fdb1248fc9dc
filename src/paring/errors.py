"""Every error Paring raises on purpose.

ParingError
├── SettingError (ValueError)         a setting outside its range, an unknown name
│   └── UnknownNameError              ... with the nearest match
├── TaskError (ValueError)            the user's model or data
│   ├── BatchError                    a batch that is not (inputs, target), or holds NaN
│   ├── ForwardError                  the model's forward fails on the given inputs
│   └── MissingError                  a field the recipe needs and the task lacks
├── RecipeError (ValueError)          a recipe that cannot be read
│   └── OrderError                    two passes that cannot follow each other
├── LayerError (ValueError)           a layer a pass cannot treat
│   ├── ShapeError                    sizes that do not fit
│   └── NothingToDoError              a pass that found nothing to change
├── TraceError (RuntimeError)         the model cannot be traced
├── ExportError (RuntimeError)        the file could not be written or run
│   └── ParityError                   the file does not compute what the model computes
├── EngineError (RuntimeError)        an engine that is missing or refuses a file
├── CorruptFileError (ValueError)     a file that is not what it should be
├── RequestError (ValueError)         a request that a server refuses, with its HTTP status
├── RunFolderError (ValueError)       an output folder that belongs to another task
└── BudgetError (ValueError)          no candidate inside the budget

Each says where, what was got, what is allowed and what to do, in one line. The command line prints that line and exits
with `exit_code`: 2, or 3 for BudgetError.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class ParingError(Exception):
    """Base of every error raised on purpose."""

    exit_code: ClassVar[int] = 2


class SettingError(ParingError, ValueError):
    """A setting outside its range."""


FEW = 4  # names that are all told


class UnknownNameError(SettingError):
    """A name nobody knows; the message gives the nearest one, and `more`, where to look for the rest."""

    def __init__(self, kind: str, name: object, known: Iterable[str], where: str = "", more: str = "") -> None:
        known = sorted(known)
        close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
        names = ", ".join(known) or "none"
        hint = f"did you mean {close[0]!r}?" if close else f"known: {names}."
        if close and len(known) <= FEW:
            hint += f" Known: {names}."
        told = f"{hint} {more}" if more else hint
        super().__init__(f"{where + ': ' if where else ''}unknown {kind} {str(name)!r}; {told}")


class TaskError(ParingError, ValueError):
    """The user's model or data is not usable."""


class BatchError(TaskError):
    """A batch that is not `(inputs, target)`, or holds NaN."""


class ForwardError(TaskError):
    """The model's forward fails on the given inputs."""


class MissingError(TaskError):
    """A task field that a recipe needs is missing."""


class RecipeError(ParingError, ValueError):
    """A recipe that cannot be read."""


class OrderError(RecipeError):
    """Two passes of a recipe that cannot follow each other; the message names both."""


class LayerError(ParingError, ValueError):
    """A layer that a pass cannot treat."""


class ShapeError(LayerError):
    """Sizes that do not fit."""


class NothingToDoError(LayerError):
    """A pass that found nothing to change."""


class TraceError(ParingError, RuntimeError):
    """The model cannot be traced."""


class ExportError(ParingError, RuntimeError):
    """The file could not be written, or does not run."""


class ParityError(ExportError):
    """The file does not compute what the model computes."""


class EngineError(ParingError, RuntimeError):
    """An engine that is not installed, or refuses a file."""


class CorruptFileError(ParingError, ValueError):
    """A file that is not what it should be."""


class RequestError(ParingError, ValueError):
    """A request that a server refuses; the message goes to whoever asked, so it names nothing of the host.

    `status` is the HTTP status; `retry_after_s` says when to come again, where coming again may help.
    """

    def __init__(self, status: int, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class RunFolderError(ParingError, ValueError):
    """An output folder that belongs to another task."""


class BudgetError(ParingError, ValueError):
    """No candidate inside the budget; names the nearest miss and what blocks it."""

    exit_code: ClassVar[int] = 3
