"""What a worker holds alone on its machine: the clock while it times, and the cores that it runs on.

The locks are files in the temporary folder, which every process of one user on one machine sees; the system gives them
back when their holder ends, however it ends. No word with the other machines of a cluster is needed.
"""

from __future__ import annotations

import fcntl
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

from paring.engines import usable_cores

LOOK_S = 0.05  # between looks at cores that others hold


@contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """Held by one process of this user at a time: whoever reads the clock."""
    with _locked("timing"):
        yield


@contextmanager
def cores_of_own(number: int) -> Iterator[tuple[int, ...]]:
    """Holds cores that no other process of this user holds by this function, and waits until there are so many.

    Yields: `number` usable cores, or all of them on a machine with fewer.
    """
    cores, own = usable_cores(), list[int]()
    with ExitStack() as held:
        with _locked("choice"):  # one chooses at a time: two with half their cores would wait for each other
            for core in cycle(cores):
                if len(own) == min(number, len(cores)):
                    break
                if core in own:
                    continue
                try:
                    held.enter_context(_locked(f"core-{core}", wait=False))
                except BlockingIOError:
                    time.sleep(LOOK_S)
                else:
                    own.append(core)
        yield tuple(sorted(own))


@contextmanager
def _locked(what: str, *, wait: bool = True) -> Iterator[None]:
    """Raises BlockingIOError if another holds it and this one shall not `wait`."""
    name = f"paring-{platform.node()}-{os.getuid()}-{what}.lock"  # the node's, where the folder is shared by many
    with (Path(tempfile.gettempdir()) / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
