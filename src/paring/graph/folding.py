"""The batch norms of a model that fold into the layer before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from paring.core.task import Inputs
from paring.graph.edits.fold import FoldBatchNorm
from paring.graph.trace import batch_norm_pairs


def folds(
    model: nn.Module, example_inputs: Inputs, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[FoldBatchNorm]:
    """One edit for each wanted layer whose answer a batch norm alone reads. Raises TraceError."""
    for layer, norm in batch_norm_pairs(model, example_inputs):
        if wanted(layer):
            yield FoldBatchNorm(layer, norm)
