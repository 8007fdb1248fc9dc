from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring.core.target import Target
from paring.core.task import Task
from paring.data.batches import batches
from paring.engines import open_session
from paring.engines.protocol import Array, Arrays
from paring.errors import BatchError, EngineError, TaskError
from paring.measure.metrics import accuracy, auc, log_loss, poisson_log_loss
from paring.measure.quality import file_inputs, file_outputs, file_quality, outputs_side_by_side, quality
from paring.numerics.statistics import tango_interval


@dataclass(frozen=True)
class Named:
    """A session with only names."""

    input_names: tuple[str, ...]

    def run(self, inputs: Arrays) -> list[Array]:
        raise NotImplementedError

    prepare = run  # type: ignore[assignment]


@pytest.fixture
def task(linear: nn.Linear, x: np.ndarray) -> Task:
    inputs = torch.from_numpy(x)
    targets = linear(inputs).argmax(1)
    data = batches(inputs, targets, 8)
    return Task(linear, inputs[:2], validation=data, loss=nn.functional.cross_entropy, metric=accuracy)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_is_scored_by_its_own_answers(engine: str, task: Task, linear_file: Path, x: np.ndarray) -> None:
    session = open_session(linear_file, Target(engine=engine))
    outputs, targets = file_outputs(session, task.validation)
    torch.testing.assert_close(outputs, task.model(torch.from_numpy(x)).detach())
    assert len(targets) == 20
    same = file_quality(session, task, task.validation, split="validation")
    assert (same.metric, same.drop, same.num_examples) == (1.0, 0.0, 20)
    spoilt = torch.roll(outputs, 1, dims=1)
    against = file_quality(session, task, task.validation, spoilt, split="validation")
    assert against.drop == -1.0 and against.drop_interval == tango_interval(0, 20, 20)


def test_files_side_by_side_answer_as_each_alone_and_read_each_batch_once(task: Task, linear_file: Path) -> None:
    sessions = [open_session(linear_file, Target(engine=engine)) for engine in ("onnxruntime", "openvino")]
    alone = [file_outputs(session, task.validation) for session in sessions]
    read = iter(list(task.validation))
    together, targets = outputs_side_by_side(sessions, read)
    assert next(read, None) is None
    for (outputs, wanted), beside in zip(alone, together, strict=True):
        assert torch.equal(outputs, beside) and torch.equal(wanted, targets)


def test_inputs_go_by_name_or_by_order() -> None:
    session = Named(("ids", "mask"))
    ids, mask = torch.ones(2, 3), torch.zeros(2, 3)
    for inputs in ((ids, mask), {"mask": mask, "token_type": ids, "ids": ids}, (ids, None, mask)):
        given = file_inputs(session, inputs)
        assert list(given) == ["ids", "mask"]
        assert given["ids"].sum() == 6 and given["mask"].sum() == 0
    with pytest.raises(EngineError, match="the batch lacks mask"):
        file_inputs(session, ids)
    with pytest.raises(EngineError, match="the batch lacks ids"):
        file_inputs(session, {"mask": mask})
    with pytest.raises(EngineError, match="3 input tensors, and the file takes 2"):
        file_inputs(session, (ids, mask, mask))


def test_data_that_cannot_be_scored(linear_file: Path) -> None:
    session = open_session(linear_file, Target())
    with pytest.raises(TaskError, match="no batch"):
        file_outputs(session, [])
    with pytest.raises(BatchError, match=r"batch 0: it is Tensor; it must be \(inputs, target\)"):
        file_outputs(session, [torch.ones(2, 4)])  # type: ignore[list-item]
    with pytest.raises(TaskError, match="1 outputs before, 2 after and 2 targets cannot be paired"):
        quality(accuracy, torch.ones(1, 2), torch.ones(2, 2), torch.ones(2).long(), split="test")


def test_a_drop_is_positive_when_worse_whichever_way_the_metric_points() -> None:
    targets = torch.tensor([0, 1] * 50)
    good = torch.nn.functional.one_hot(targets, 2) * 4.0
    bad = good.clone()
    bad[:10] = 1 - bad[:10]
    for metric in (accuracy, log_loss, auc):
        told = quality(metric, good, bad, targets, split="test")
        assert told.drop > 0 and told.drop_interval is not None
        assert told.drop_interval[0] <= told.drop <= told.drop_interval[1]
        assert told.metric == metric(bad, targets)
    rates = quality(poisson_log_loss, targets * 1.0, targets * 1.0 + 1, targets, split="test")
    assert rates.drop_interval is not None and rates.drop_interval[0] > 0


def test_one_example_has_no_interval() -> None:
    assert (
        quality(accuracy, torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1).long(), split="test").drop_interval is None
    )
