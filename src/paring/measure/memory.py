"""Peak memory of running a file, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from paring.core.target import Target
from paring.engines.protocol import Arrays
from paring.errors import EngineError

NUM_RUNS = 3

# VmHWM and not ru_maxrss: on Linux the latter starts from the parent's peak, which holds torch.
CHILD = """
import json, sys
import numpy as np
from paring.core.target import Target
from paring.engines import open_session
from paring.errors import ParingError

order = json.loads(sys.argv[1])
target = Target(**order["target"])
if target.engine == "openvino":
    from paring.engines.openvino import load_plugin
    load_plugin()
else:
    import onnxruntime
if order["path"] is not None:
    try:
        session = open_session(order["path"], target)
        with np.load(order["inputs"], allow_pickle=False) as held:
            inputs = {name: held[name] for name in held.files}
        for _ in range(order["num_runs"]):
            session.run(inputs)
    except ParingError as error:
        sys.exit(str(error))
assert "torch" not in sys.modules
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def peak_memory_bytes(path: str | Path, target: Target, inputs: Arrays) -> int:
    """Peak resident set of a fresh process that loads and runs the file, above one that only loads the engine.

    Both are torch-free, as a serving image is. What the figure holds: weights, activations, the engine's own copies
    and plans. It varies by some 100 kB from run to run. Linux only.

    Raises: EngineError if the child fails, with its one line.
    """
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "inputs.npz"
        arrays: dict[str, Any] = {name: np.asarray(array) for name, array in inputs.items()}
        np.savez(held, **arrays)
        peak = _peak(target, str(Path(path).resolve()), str(held))
    return max(peak - _empty(target.engine), 0)


@cache
def _empty(engine: str) -> int:
    return _peak(Target(engine=engine), None, None)  # type: ignore[arg-type]


def _peak(target: Target, path: str | None, inputs: str | None) -> int:
    order = json.dumps({"target": asdict(target), "path": path, "inputs": inputs, "num_runs": NUM_RUNS})
    done = subprocess.run([sys.executable, "-c", CHILD, order], capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise EngineError(f"peak memory of {path or target.engine}: the process that ran it failed: {said[-1]}")
    return int(done.stdout.split()[-1]) * 1024
