"""One fresh process that loads a file and runs it, as a serving image would: `python -m paring.measure.child ORDER`.

It prints one JSON line once the file has answered and, if asked to run on, a second one at the end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

from paring.core.target import Target
from paring.engines import open_session
from paring.engines.protocol import Arrays
from paring.errors import ParingError


@dataclass(frozen=True)
class Order:
    """What the child shall do. Without `path` it only loads the engine; with `wait` it starts when told to on stdin."""

    target: Target
    path: str | None = None
    inputs: str | None = None
    num_runs: int = 3
    seconds: float = 0.0
    cores: tuple[int, ...] = ()
    wait: bool = False

    def command(self) -> list[str]:
        """The command line that carries it out."""
        return [sys.executable, "-m", "paring.measure.child", json.dumps(asdict(self))]


def save_inputs(inputs: Arrays, folder: str | Path) -> str:
    """Writes `inputs` where a child can read them, and returns the path."""
    path = Path(folder) / "inputs.npz"
    np.savez(path, **{name: np.asarray(array) for name, array in inputs.items()})  # type: ignore[arg-type]
    return str(path)


def main(text: str) -> None:
    """Carries out the order and prints what was seen."""
    order = json.loads(text)
    target = Target(**order["target"])
    if order["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, order["cores"])
    if target.engine == "openvino":
        from paring.engines.openvino import load_plugin

        load_plugin()
    else:
        import onnxruntime  # noqa: F401
    seen: dict[str, float] = {"empty_bytes": _status("VmRSS")}
    if order["path"] is not None:
        with np.load(order["inputs"], allow_pickle=False) as held:
            inputs = {name: held[name] for name in held.files}
        start = time.perf_counter()
        static = {name: array.shape for name, array in inputs.items()} if target.static_shapes else None
        session = open_session(order["path"], target, static=static)
        seen["load_ms"] = (time.perf_counter() - start) * 1e3
        seen["loaded_bytes"] = _status("VmRSS") - seen["empty_bytes"]
        session.run(inputs)
        seen["first_answer_s"] = time.monotonic()  # one clock for all processes
        for _ in range(order["num_runs"] - 1):
            session.run(inputs)
    assert "torch" not in sys.modules
    seen["peak_bytes"] = _status("VmHWM")
    _say(seen)
    if order["path"] is not None and order["seconds"] > 0:
        call = session.prepare(inputs)
        if order["wait"]:
            sys.stdin.readline()
        _say(_run_on(call, order["seconds"]))


def _run_on(call: object, seconds: float) -> dict[str, float]:
    assert callable(call)
    count, cpu, start = 0, time.process_time(), time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        call()
        count += 1
    return {"count": count, "wall_s": passed, "cpu_s": time.process_time() - cpu}


def _status(key: str) -> int:
    """VmHWM and not ru_maxrss: on Linux the latter starts from the parent's peak, which holds torch."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key + ":"))


def _say(seen: dict[str, float], out: IO[str] | None = None) -> None:
    print(json.dumps(seen), file=out or sys.stdout, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except ParingError as problem:
        sys.exit(" ".join(str(problem).split()))
