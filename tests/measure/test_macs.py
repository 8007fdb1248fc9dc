from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from paring.measure.macs import macs, num_params


@pytest.mark.parametrize(
    ("model", "inputs", "expected"),
    [
        (nn.Linear(8, 16), torch.zeros(7, 8), 8 * 16),
        (nn.Conv2d(4, 8, 3, padding=1, groups=2), torch.zeros(5, 4, 6, 6), 6 * 6 * 8 * 2 * 9),
        (nn.Conv1d(4, 8, 3), torch.zeros(2, 4, 9), 7 * 8 * 4 * 3),
        (nn.ConvTranspose2d(4, 8, 2, stride=2), torch.zeros(2, 4, 5, 5), 25 * 4 * 8 * 4),
        (nn.LSTM(8, 16, batch_first=True), torch.zeros(3, 5, 8), 5 * 4 * 16 * (8 + 16)),
        (nn.LSTM(8, 16, batch_first=True, bidirectional=True, num_layers=2), torch.zeros(3, 5, 8),
         5 * 2 * 4 * 16 * (8 + 16) + 5 * 2 * 4 * 16 * (32 + 16)),
        (nn.GRU(8, 16, batch_first=True), torch.zeros(3, 5, 8), 5 * 3 * 16 * (8 + 16)),
        (nn.Bilinear(3, 4, 5), (torch.zeros(6, 3), torch.zeros(6, 4)), 5 * 3 * 4 + 5 * 4),
        (nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2), torch.zeros(4, 5, 8),
         2 * (5 * 8 * 24 + 2 * 5 * 5 * 8 + 5 * 8 * 8 + 2 * 5 * 8 * 16)),
        (nn.ReLU(), torch.zeros(2, 8), 0),
    ],
)  # fmt: skip
def test_macs_of_one_example_by_hand(model: nn.Module, inputs: Tensor | tuple[Tensor, ...], expected: int) -> None:
    assert macs(model, inputs) == expected


class Attention(nn.Module):
    def forward(self, query: Tensor, keys: Tensor, scale: float | None = None) -> Tensor:
        return nn.functional.scaled_dot_product_attention(query, keys, keys, scale=scale)


def test_attention_counts_and_dict_inputs_are_cut_to_one_example() -> None:
    inputs = {"query": torch.zeros(3, 2, 5, 4), "keys": torch.zeros(3, 2, 7, 4), "scale": 0.5}
    assert macs(Attention(), inputs) == 2 * (2 * 5 * 7 * 4)


def test_counting_leaves_mode_and_switches_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    switch = torch.backends.mha.get_fastpath_enabled()
    macs(model, torch.ones(6, 4))
    assert model.training and torch.backends.mha.get_fastpath_enabled() is switch
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Stored(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight_q", torch.zeros(3, 4, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(3))
        self.register_buffer("bias", torch.zeros(3))


def test_parameters_count_once_and_stored_integers_count_as_the_weight_they_replace() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4, bias=False))
    tied[2].weight = tied[0].weight
    assert num_params(tied) == 4 * 4 + 4 + 2 * 4
    assert num_params(nn.Sequential(Stored(), nn.Linear(3, 2))) == num_params(
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    )
