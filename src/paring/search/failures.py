"""What went wrong with a trial, called what it is."""

from __future__ import annotations

from typing import Literal

import torch

from paring.errors import (
    BudgetError,
    EngineError,
    ExportError,
    LayerError,
    NothingToDoError,
    OrderError,
    ParityError,
    RecipeError,
    TaskError,
    TraceError,
)  # fmt: skip

Outcome = Literal[
    "whole", "hopeless", "timeout", "out of memory", "not a number", "untraceable", "unsupported op", "not exportable",
    "other answers", "cannot be run", "does not fit the layers", "nothing to do", "out of reach", "order", "crash",
]  # fmt: skip
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc", "alloc_cpu")
NOT_A_NUMBER = (" nan", "nan ", "infinite", "not finite", "infinity", "no number")
UNSUPPORTED = ("unsupported", "not supported", "no translation", "dispatchererror", "cannot be converted")


def outcome_of(error: BaseException) -> Outcome:
    """The kind of failure. The message decides where the class does not, also of what caused it."""
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 20:
        chain.append(inner)
    words = " ".join(str(one) for one in chain).lower()
    if any(isinstance(one, MemoryError | torch.cuda.OutOfMemoryError) for one in chain) or _holds(words, OUT_OF_MEMORY):
        return "out of memory"
    if isinstance(error, ParityError):
        return "other answers"
    if isinstance(error, TraceError):
        return "untraceable"
    if isinstance(error, ExportError):
        return "unsupported op" if _holds(words, UNSUPPORTED) else "not exportable"
    if isinstance(error, TaskError | LayerError | FloatingPointError) and _holds(str(error).lower(), NOT_A_NUMBER):
        return "not a number"
    plain: tuple[tuple[type[BaseException], Outcome], ...] = (
        (EngineError, "cannot be run"),
        (NothingToDoError, "nothing to do"),
        (OrderError, "order"),
        (RecipeError, "order"),
        (LayerError, "does not fit the layers"),
        (BudgetError, "out of reach"),
        (TimeoutError, "timeout"),
    )
    return next((kind for cls, kind in plain if isinstance(error, cls)), "crash")


def _holds(words: str, among: tuple[str, ...]) -> bool:
    return any(one in words for one in among)
