"""The nets of benchmarks/quantize.py, and what a peer is given of each: the file, the traced net, the calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from images import tuned
from search_tasks import conversion, encoder, mnist_cnn, resnet20
from torch import Tensor, nn

from paring import Task
from paring.artifacts.onnx import OneOutput, input_names, write_onnx
from paring.core.target import Target
from paring.core.task import Batches, Inputs
from paring.data.splits import Splits
from paring.engines import open_session
from paring.measure.quality import file_inputs
from paring.studies.deep_nets import cifar_task, vgg16_convolutions
from paring.studies.nets import conv_net

HOME = Path(__file__).parent
OUT = HOME.parent / "out" / "benchmarks" / "quantize"
LENGTH = 128


@dataclass(frozen=True)
class Subject:
    """A trained net with its data (`judged`), or one of random weights that only the clock may judge."""

    name: str
    task: Task
    judged: bool = True

    @property
    def timed(self) -> Task:
        """The same task with the inputs that files are timed on: an encoder reads 128 tokens, others their first."""
        if self.task.dynamic_dims == (0,):
            return self.task
        return replace(self.task, calibration=[(self.task.example_inputs, torch.zeros(2))])


def lenet() -> Subject:
    """LeNet-5's size: two convolutions of 20 and 50 channels and Linears of 500 and 10; random weights."""
    task = mnist_cnn()
    torch.manual_seed(0)
    return Subject("lenet", replace(task, name="lenet", model=conv_net((20, 50), 500).eval()), judged=False)


def vgg16() -> Subject:
    """VGG-16 over 32 x 32 images, batch norms inside; random weights and random images."""
    torch.manual_seed(0)
    x, y = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    net = nn.Sequential(*vgg16_convolutions(), nn.Linear(512, 10)).eval()
    return Subject("vgg16", cifar_task("vgg16", net, Splits((x, y), (x, y), (x, y))), judged=False)


def roberta() -> Subject:
    """An encoder of RoBERTa-base's size (12 layers of 768), random weights, over random tokens."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, num_labels=2, pad_token_id=1
    )
    net = RobertaForSequenceClassification(config).eval()
    rows = [_tokens(seed) for seed in range(8)]
    task = encoder()
    return Subject(
        "roberta",
        replace(
            task,
            name="roberta-base",
            model=net,
            example_inputs=rows[0][0],
            calibration=rows,
            validation=rows,
            test=rows,
        ),
        judged=False,
    )


def _tokens(seed: int) -> tuple[Inputs, Tensor]:
    ids = torch.randint(5, 50265, (2, LENGTH), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.zeros(2, dtype=torch.long)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "mnist": lambda: Subject("mnist", mnist_cnn()),
    "conversion": lambda: Subject("conversion", conversion()),
    "resnet20": lambda: Subject("resnet20", resnet20()),
    "encoder": lambda: Subject("encoder", encoder()),
    "vgg": lambda: Subject("vgg", tuned("vgg")),
    "lenet": lenet,
    "vgg16": vgg16,
    "roberta": roberta,
}


def given_to_peers(subject: Subject) -> Path:
    """A folder with `model.onnx` (fp32), `model.pt2` (the traced net), `calibration.npz` and `test.npz`.

    In the archives the array `0007/NAME` is what batch 7 gives input NAME.
    """
    folder, task = OUT / subject.name, subject.task
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "done").is_file():
        return folder
    write_onnx(task.model, task, folder / "model.onnx")
    names = input_names(task.model, task.example_inputs)
    assert task.calibration is not None and task.test is not None
    example = _arrays(folder / "model.onnx", [(task.example_inputs, None)])
    tensors = tuple(torch.from_numpy(example[f"0000/{one}"]) for one in names)
    free = tuple({dim: torch.export.Dim.AUTO for dim in task.dynamic_dims if dim < x.dim()} for x in tensors)
    wrapped = OneOutput(task.model, task.example_inputs, task.output).eval()
    with torch.no_grad():
        torch.export.save(
            torch.export.export(wrapped, tensors, dynamic_shapes=(free,), strict=False), folder / "model.pt2"
        )
    np.savez(folder / "calibration.npz", **_arrays(folder / "model.onnx", task.calibration))
    np.savez(folder / "test.npz", **_arrays(folder / "model.onnx", task.test if subject.judged else []))
    (folder / "done").write_text("")
    return folder


def _arrays(path: Path, data: Batches) -> dict[str, Any]:
    session = open_session(path, Target("onnxruntime"))
    return {
        f"{place:04d}/{name}": array
        for place, (inputs, _) in enumerate(data)
        for name, array in file_inputs(session, inputs).items()
    }
