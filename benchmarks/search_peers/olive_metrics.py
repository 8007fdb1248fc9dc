"""What Olive's search reads from us: calibration batches, the score of a file, and its time at batch 1."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from asked import asked
from olive.data.registry import Registry

FOLDER = Path(os.environ["PARING_ASKED"])
CALLS, ROUNDS = 20, 5


@Registry.register_dataset()
def paring_rows(**_kwargs: Any) -> list[tuple[dict[str, np.ndarray], int]]:
    """Calibration batches, with labels that nothing reads."""
    return [(row, 0) for row in asked(FOLDER).calibration]


@Registry.register_dataloader()
def paring_batches(dataset: list[Any], **_kwargs: Any) -> list[Any]:
    """They are batches already."""
    return dataset


def _session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.model_path, options, providers=["CPUExecutionProvider"])


def paring_score(model: Any, *_args: Any, **_kwargs: Any) -> float:
    """On validation, higher for better."""
    session = _session(model)
    return asked(FOLDER).score(lambda inputs: session.run(None, inputs)[0])


def paring_ms(model: Any, *_args: Any, **_kwargs: Any) -> float:
    """The least of a few medians of one call at batch 1."""
    session = _session(model)
    inputs = {name: x[:1] for name, x in asked(FOLDER).validation[0][0].items()}
    medians = []
    for _ in range(ROUNDS):
        taken = []
        for _ in range(CALLS):
            start = time.perf_counter_ns()
            session.run(None, inputs)
            taken.append(time.perf_counter_ns() - start)
        medians.append(float(np.median(taken)) / 1e6)
    return min(medians)
