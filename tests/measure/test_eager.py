from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from paring.errors import EngineError
from paring.measure.eager import EagerSession, as_inputs, torch_threads


class Pair(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        return (a - b) * scale


A, B = torch.ones(2, 3), torch.full((2, 3), 4.0)


@pytest.mark.parametrize("example", [(A, B, 2.0), {"b": B, "a": A, "scale": 2.0}])
def test_inputs_are_given_back_as_the_example_has_them(example: object) -> None:
    session = EagerSession(Pair().eval(), example)  # type: ignore[arg-type]
    inputs = as_inputs(example)  # type: ignore[arg-type]
    assert set(session.input_names) == set(inputs)
    [out] = session.run(inputs)
    np.testing.assert_array_equal(out, np.full((2, 3), -6.0))
    torch.testing.assert_close(session.prepare(inputs)(), torch.full((2, 3), -6.0))


def test_a_tensor_goes_alone_and_wrong_names_are_refused(linear: nn.Linear, x: np.ndarray) -> None:
    session = EagerSession(linear, torch.from_numpy(x))
    np.testing.assert_allclose(session.run({"inputs": x})[0], linear(torch.from_numpy(x)).detach().numpy())
    with pytest.raises(EngineError, match=r"inputs are \['x'\], and the module takes \['inputs'\]"):
        session.run({"x": x})


def test_the_number_of_threads_is_restored_also_after_an_error() -> None:
    before = torch.get_num_threads()
    seen = []

    def fail() -> None:
        seen.append(torch.get_num_threads())
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), torch_threads(before + 1):
        fail()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before
