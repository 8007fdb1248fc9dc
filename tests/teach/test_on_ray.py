"""The same answers from a Ray cluster, shard for shard; what is there is not asked again; errors are the teacher's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray.data", reason="Ray Data is not installed")

DRIVER = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from paring import batches
from paring.errors import ParingError
from paring.teach.on_ray import RayTeachers
from paring.teach.teach import teach
from tests.nets import image_task

task, out, ask = image_task(), Path(sys.argv[1]), RayTeachers("local", 2)
x, y = task.train.inputs, task.train.targets
task = replace(task, train=batches(x, y, 20, shuffle=True))
list(teach(task, out / "here", ["conv2"], shard_rows=30))
steps = teach(task, out / "ray", ["conv2"], shard_rows=30)
next(steps)
steps.close()
print([step.text for step in teach(task, out / "ray", ["conv2"], shard_rows=30, ask=ask)])
for path in (out / "here").iterdir():
    assert path.read_bytes() == (out / "ray" / path.name).read_bytes(), path.name
try:
    ragged = replace(task, train=[(x[:8], y[:8]), (x[:6], y[:6])], output=lambda a: a.reshape(1, -1))
    list(teach(ragged, out / "bad", ask=ask))
except ParingError as error:
    print(type(error).__name__, error)
"""


def test_a_cluster_gives_the_same_files_and_goes_on_where_it_was(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told, error = done.stdout.splitlines()[-2:]
    assert told.startswith("['shard 1/4, there', 'shard ") and all(f"shard {n}/4" in told for n in (2, 3, 4))
    assert error.startswith("BatchError teach: the output differs in shape between batches")
