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


ENVIRONMENT = {
    **os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true",
    "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH")))),
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def run(out: Path, *launcher: str) -> float:
    command = [sys.executable, *launcher, "-m", "tests.train.several", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    processes = 2 if launcher else 1
    assert done.stdout.split() == ["left:"] * processes  # a thread left would free its tensors too late, and abort
    with safe_open(out, "pt") as file:
        return float(file.metadata()["loss"])


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    port = free_port()
    alone = run(tmp_path / "one.safetensors")
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port))
    together = run(tmp_path / "two.safetensors", *launcher)
    assert abs(alone - together) < 1e-4 * abs(alone)
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4), name


TASK = """
import torch, torch.nn.functional as F
from torch import nn
from paring import Task, batches
from paring.measure.metrics import accuracy

torch.manual_seed(0)
x = torch.randn(150, 6)
y = (x[:, 0] > 0).long()
net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
data = batches(x, y, 50)
task = Task(model=net, example_inputs=x[:2], train=batches(x, y, 25, shuffle=True), calibration=data,
            validation=data, loss=F.cross_entropy, metric=accuracy)
"""


def test_the_command_line_under_torchrun_leaves_what_one_process_leaves(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "recipe.yaml").write_text("passes:\n- finetune: {epochs: 2, objective: distill.response}\n")
    command = ("-m", "paring", "compress", "task.py:task", "--recipe", "recipe.yaml", "--engine", "onnxruntime")
    states = []
    for out, launcher in (("one", ()), ("two", ("-m", "torch.distributed.run", "--nproc-per-node", "2"))):
        port = ("--master-port", str(free_port())) if launcher else ()
        done = subprocess.run(
            [sys.executable, *launcher, *port, *command, "--out", out],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode()
        found = sorted((tmp_path / out / "candidates").glob("*/weights.safetensors"))
        assert len(found) == 2 and (tmp_path / out / "results.json").is_file()
        states.append([load_file(path) for path in found])
    for one, two in zip(*states, strict=True):
        assert all(torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4) for name in one)


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
