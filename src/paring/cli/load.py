"""Finds the user's task: `file.py:name` or `module:name`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from paring.core.task import Task
from paring.errors import ParingError, TaskError, UnknownNameError


def load_task(where: str) -> Task:
    """The Task (or the function that returns one) that `where` names.

    Raises: TaskError if the file or module cannot be imported, UnknownNameError if it has no such name.
    """
    source, _, name = where.rpartition(":")
    if not source or not name:
        raise TaskError(f"TASK is {where!r}; write file.py:name or module:name, for example task.py:task.")
    module = _import(source)
    if not hasattr(module, name):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise UnknownNameError("name", name, public, source)
    found = getattr(module, name)
    if callable(found) and not isinstance(found, Task):
        with _blaming(source):
            found = found()
    if not isinstance(found, Task):
        raise TaskError(f"{where}: is a {type(found).__name__}; it must be a paring.Task, or a function returning one.")
    return found


def _import(source: str) -> ModuleType:
    if not source.endswith(".py"):
        if "" not in sys.path:
            sys.path.insert(0, "")
        with _blaming(source):
            return importlib.import_module(source)
    path = Path(source)
    if not path.is_file():
        raise TaskError(f"{source}: no such file. `paring init {source}` writes one to start from.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    with _blaming(source):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _blaming(source: str) -> Iterator[None]:
    """The user's own code runs inside: what it raises becomes a TaskError that names its line."""
    try:
        yield
    except ParingError:
        raise
    except Exception as error:
        line = _line_in(error, source)
        reason = " ".join(str(error).split())
        raise TaskError(f"{source}{line}: gives no task: {type(error).__name__}: {reason}. Mend it there.") from error


def _line_in(error: BaseException, source: str) -> str:
    """`:12` for the last line of `source` in the traceback."""
    file = Path(source).name if source.endswith(".py") else f"{source.rpartition('.')[2]}.py"
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename).name == file]
    return f":{lines[-1]}" if lines else ""
