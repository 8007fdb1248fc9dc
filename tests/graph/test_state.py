"""State in and out: ties kept, non-persistent buffers carried, bit for bit."""

from __future__ import annotations

import pytest
import torch

from paring.errors import CorruptFileError
from paring.graph.state import meta_copy, named_tensors, put_state, take_state
from tests.nets import TASKS


@pytest.mark.parametrize("name", sorted(TASKS))
def test_state_round_trip_is_bit_identical(name: str) -> None:
    task = TASKS[name]()
    state, aliases = take_state(task.model)
    copy = meta_copy(task.model)
    assert all(tensor.is_meta for _, tensor in named_tensors(copy))
    put_state(copy, state, aliases)
    for (left, a), (right, b) in zip(named_tensors(task.model), named_tensors(copy), strict=True):
        assert left == right
        assert torch.equal(a, b)
    assert torch.equal(task.predict(task.model, task.example_inputs), task.predict(copy.eval(), task.example_inputs))


def test_shared_weights_stay_shared_and_are_stored_once() -> None:
    model = TASKS["vectors"]().model
    state, aliases = take_state(model)
    assert aliases == {"tied_b.weight": "tied_a.weight"}
    copy = meta_copy(model)
    put_state(copy, state, aliases)
    assert copy.tied_a.weight is copy.tied_b.weight
    assert copy.tied_a.weight is not model.tied_a.weight


def test_non_persistent_buffers_are_carried() -> None:
    state, _ = take_state(TASKS["dict"]().model)
    assert "positions" in state


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "dtype"])
def test_a_state_that_does_not_fit_is_refused(damage: str) -> None:
    model = TASKS["images"]().model
    state, aliases = take_state(model)
    if damage == "missing":
        del state["head.bias"]
    elif damage == "extra":
        state["head.extra"] = torch.zeros(1)
    elif damage == "shape":
        state["head.bias"] = torch.zeros(5)
    else:
        state["head.bias"] = state["head.bias"].double()
    with pytest.raises(CorruptFileError, match=r"head\.(bias|extra)"):
        put_state(meta_copy(model), state, aliases)
