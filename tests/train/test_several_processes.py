"""The same command under torchrun on two processes (gloo) learns what one process learns."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from paring.data.rows import cut_rows
from paring.train.processes import Processes

ROOT = Path(__file__).parents[2]


def run(out: Path, *launcher: str) -> float:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *launcher, "-m", "tests.train.several", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with safe_open(out, "pt") as file:
        return float(file.metadata()["loss"])


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = run(tmp_path / "one.safetensors")
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port))
    together = run(tmp_path / "two.safetensors", *launcher)
    assert abs(alone - together) < 1e-4 * abs(alone)
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4), name


class Fake:
    """Process `process_index` of `num_processes`."""

    def __init__(self, process_index: int, num_processes: int) -> None:
        self.process_index, self.num_processes = process_index, num_processes


def test_shares_cover_every_row_once_and_weigh_them_alike() -> None:
    x, y = torch.arange(7.0), torch.arange(7)
    inputs = {"x": x, "scale": 2}
    shares = [Processes(Fake(place, 3)).share(inputs, (inputs, y)) for place in range(3)]
    assert torch.cat([mine["x"] for (mine, _), _ in shares]).tolist() == x.tolist()
    assert torch.cat([target for (_, target), _ in shares]).tolist() == y.tolist()
    means = [mine["x"].mean() * weight for (mine, _), weight in shares]
    assert torch.isclose(sum(means) / 3, x.mean())  # type: ignore[arg-type]
    few = [Processes(Fake(place, 3)).share(x[:2], y[:2]) for place in range(3)]
    assert sorted(weight for _, weight in few) == [0, 1.5, 1.5]
    assert cut_rows((x, [x]), slice(0, 2), 7)[1][0].tolist() == [0, 1]
