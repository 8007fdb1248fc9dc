"""The teacher's answers on disk: training from them equals the live teacher; resume, checksums, clear errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from paring import Task, batches
from paring.candidates import compress
from paring.core.recipe import Recipe
from paring.data.numbered import in_order, numbered
from paring.distill.features import Features
from paring.distill.response import Response
from paring.distill.weighted import Weighted
from paring.errors import BatchError, CorruptFileError, MissingError, RunFolderError, SettingError, UnknownNameError
from paring.finetune import Finetune
from paring.student.use import Use
from paring.teach.taught import taught
from paring.teach.teach import teach
from tests.distill.nets import SmallNet
from tests.nets import dict_task, image_task

INSIDE = Weighted((Response(alpha=1.0), Features((("conv", "conv2"),))), (1.0, 0.5))
RECIPE = Recipe((Use(student="small"), Finetune(epochs=3, learning_rate=1e-2, objective=INSIDE)))


def task_with(train: object) -> Task:
    return replace(image_task(), train=train, students={"small": SmallNet})  # type: ignore[arg-type]


def data(kind: str) -> object:
    x, y = image_task().train.inputs, image_task().train.targets  # type: ignore[union-attr]
    if kind == "batches":
        return batches(x, y, 20, shuffle=True)
    if kind == "loader":
        return DataLoader(TensorDataset(x, y), 20, shuffle=True)
    return list(batches(x, y, 20))


@pytest.mark.parametrize("kind", ["batches", "loader", "list"])
def test_training_from_the_answers_equals_training_with_the_live_teacher(kind, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    task = task_with(data(kind))
    list(teach(task, tmp_path, ["conv2"], shard_rows=37))
    live, cached = compress(task, RECIPE), compress(taught(task, tmp_path), RECIPE)
    for name in live.state:
        assert torch.allclose(live.state[name], cached.state[name], rtol=1e-4, atol=1e-6), name


def test_the_teacher_is_not_run(tmp_path: Path) -> None:
    task = task_with(data("batches"))
    list(teach(task, tmp_path, ["conv2"]))
    cached = taught(task, tmp_path)
    calls: list[int] = []
    handle = task.model.conv1.register_forward_hook(lambda *_: calls.append(1))  # copies of the model keep the hook
    compress(cached, Recipe((Use(student="small"), Finetune(epochs=1, objective=Response()))))
    handle.remove()
    assert len(calls) <= 1, "once for the shapes, never for training"


def test_killed_in_between_it_goes_on_and_ends_with_the_same_files(tmp_path: Path) -> None:
    task = task_with(data("batches"))
    list(teach(task, tmp_path / "whole", shard_rows=30))
    steps = teach(task, tmp_path / "broken", shard_rows=30)
    next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]
    (tmp_path / "broken" / "shard-00001.json").unlink()  # killed after the file, before what vouches for it
    with pytest.raises(RunFolderError, match="3 of 4 shards are missing"):
        taught(task, tmp_path / "broken")
    told = [step.text for step in teach(task, tmp_path / "broken", shard_rows=30)]
    assert told == ["shard 1/4, there", "shard 2/4", "shard 3/4", "shard 4/4"]
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "broken" / path.name).read_bytes(), path.name


def test_machines_share_the_shards(tmp_path: Path) -> None:
    task = task_with(data("batches"))
    for place in range(3):
        list(teach(task, tmp_path, shard_rows=30, part=(place, 3)))
    assert len(taught(task, tmp_path).train) == len(task.train)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="part"):
        list(teach(task, tmp_path, part=(3, 3)))


def test_shards_hold_the_answers_row_by_row(tmp_path: Path) -> None:
    task = dict_task()
    list(teach(task, tmp_path, ["mix"], shard_rows=50))
    shards = [load_file(tmp_path / f"shard-0000{number}.safetensors") for number in range(2)]
    inputs = task.train.inputs  # type: ignore[union-attr]
    with torch.no_grad():
        expected = task.predict(task.model, inputs)
    assert torch.allclose(torch.cat([shard["output"] for shard in shards]), expected, atol=1e-6)
    assert shards[0]["layer/mix"].shape == (50, 6, 16)


def test_another_teacher_other_data_other_layers_and_damage_are_named(tmp_path: Path) -> None:
    task = task_with(data("batches"))
    list(teach(task, tmp_path, shard_rows=50))
    other = replace(task, model=image_task(seed=9).model)
    with pytest.raises(RunFolderError, match="another teacher"):
        taught(other, tmp_path)
    with pytest.raises(RunFolderError, match="answers of another teacher"):
        list(teach(other, tmp_path, shard_rows=50))
    x, y = task.train.inputs, task.train.targets  # type: ignore[union-attr]
    with pytest.raises(RunFolderError, match=r"96 rows, and task\.train has 90"):
        taught(replace(task, train=batches(x[:90], y[:90])), tmp_path)
    with pytest.raises(RunFolderError, match=r"other data than task\.train"):
        taught(replace(task, train=batches(x.flip(0), y)), tmp_path)
    with pytest.raises(MissingError, match=r"teacher's conv2.*--layer conv2"):
        compress(taught(task, tmp_path), RECIPE)
    with pytest.raises(RunFolderError, match="paring teach"):
        taught(task, tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="did you mean 'conv2'"):
        list(teach(task, tmp_path / "new", ["conv22"]))
    path = tmp_path / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(CorruptFileError, match="teach again"):
        taught(task, tmp_path)
    (tmp_path / "teach.json").write_text("{")
    with pytest.raises(CorruptFileError, match=r"teach\.json"):
        taught(task, tmp_path)


def test_data_without_row_numbers_and_outputs_of_several_shapes(tmp_path: Path) -> None:
    class Stream:
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield from data("list")  # type: ignore[misc]

    with pytest.raises(BatchError, match="its rows have no numbers"):
        list(teach(task_with(Stream()), tmp_path / "a"))
    task = replace(task_with([(torch.rand(2, 3), torch.zeros(2)), (torch.rand(2, 4), torch.zeros(2))]), model=nn.ReLU())
    with pytest.raises(BatchError, match="differs in shape between batches"):
        list(teach(task, tmp_path / "b"))


def test_rows_are_numbered_as_the_data_draw_them() -> None:
    x = torch.arange(50.0)
    for loader in (batches(x, x, 8, shuffle=True), DataLoader(TensorDataset(x, x), 8, shuffle=True)):
        torch.manual_seed(4)
        plain = [inputs for inputs, _ in loader]
        torch.manual_seed(4)
        rows = [(number, inputs) for number, inputs, _ in numbered(loader)]
        assert torch.equal(torch.cat(plain), torch.cat([inputs for _, inputs in rows]))
        assert torch.equal(torch.cat([number for number, _ in rows]).float(), torch.cat(plain))
        assert torch.equal(torch.cat([inputs for inputs, _ in in_order(loader)]), x)


def test_the_head_says_whose_answers_they_are(tmp_path: Path) -> None:
    list(teach(task_with(data("batches")), tmp_path, ["conv1"], shard_rows=40))
    head = json.loads((tmp_path / "teach.json").read_text())
    assert head["num_rows"] == 96 and head["layers"] == ["conv1"] and head["format"] == 1 and len(head["teacher"]) == 16
