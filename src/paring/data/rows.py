"""Some rows of a batch's inputs or targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def cut_rows(value: Any, rows: slice, of: int) -> Any:
    """The rows of a tensor, or of each tensor of a tuple, list or dict, that has `of` of them; the rest as it is."""
    if isinstance(value, Tensor):
        return value[rows] if value.ndim and len(value) == of else value
    if isinstance(value, Mapping):
        return {name: cut_rows(one, rows, of) for name, one in value.items()}
    return type(value)(cut_rows(one, rows, of) for one in value) if isinstance(value, tuple | list) else value
