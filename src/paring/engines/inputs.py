"""Arrays that fit the inputs of a file: given ones checked, or zeros made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paring.engines.protocol import Array, Arrays, InputSpec, Shapes, shown
from paring.errors import EngineError


def fitted(where: str, specs: Sequence[InputSpec], inputs: Arrays) -> dict[str, Array]:
    """`inputs` as contiguous arrays of the file's dtypes, in the file's order.

    A number type is converted within its kind (float64 to float32, int32 to int64), never across.
    Raises: EngineError for a missing, unknown or misshapen input, or a dtype of another kind.
    """
    known = {spec.name for spec in specs}
    listed = "; ".join(str(spec) for spec in specs)
    if unknown := sorted(inputs.keys() - known):
        raise EngineError(f"{where}: it has no input {unknown[0]!r}. Its inputs are: {listed}.")
    fitting: dict[str, Array] = {}
    for spec in specs:
        if spec.name not in inputs:
            got = ", ".join(inputs) or "none"
            raise EngineError(f"{where}: input {spec.name!r} is missing (given: {got}). Its inputs are: {listed}.")
        array = np.ascontiguousarray(inputs[spec.name])
        if spec.shape is not None and not _shape_fits(spec.shape, array.shape):
            raise EngineError(
                f"{where}: input {spec.name!r} is {shown(array.shape)}, and the file takes {shown(spec.shape)}. "
                "Give that shape, or export with that dimension dynamic."
            )
        if not np.can_cast(array.dtype, spec.dtype, casting="same_kind"):
            raise EngineError(f"{where}: input {spec.name!r} is {array.dtype}, and the file takes {spec.dtype}.")
        fitting[spec.name] = array.astype(spec.dtype, copy=False)
    return fitting


def _shape_fits(wanted: tuple[int | None, ...], got: tuple[int, ...]) -> bool:
    return len(wanted) == len(got) and all(w is None or w == g for w, g in zip(wanted, got, strict=True))


def free_inputs(
    where: object, specs: Sequence[InputSpec], batch_size: int = 1, shapes: Shapes | None = None
) -> dict[str, Array]:
    """Zeros that fit the file: its own shapes, the first free dimension `batch_size`, other free ones 1.

    Args:
        shapes: input name -> shape, for those that shall be otherwise; their batch is taken as it is.
    Raises: EngineError for an unknown name, a shape that does not fit, or an input of unknown rank.
    """
    asked = dict(shapes or {})
    known = {spec.name: spec for spec in specs}
    listed = "; ".join(str(spec) for spec in specs)
    for name, shape in asked.items():
        if name not in known:
            raise EngineError(f"{where}: it has no input {name!r}. Its inputs are: {listed}.")
        wanted = known[name].shape
        if wanted is not None and not _shape_fits(wanted, shape):
            raise EngineError(f"{where}: input {name!r} cannot be {shown(shape)}: the file takes {shown(wanted)}.")
    arrays = {}
    for spec in specs:
        if spec.name not in asked and spec.shape is None:
            raise EngineError(f"{where}: input {spec.name!r} has no known rank; give its shape (--shape NAME=1x128).")
        own = [size if size is not None else (1 if axis else batch_size) for axis, size in enumerate(spec.shape or ())]
        arrays[spec.name] = np.zeros(asked.get(spec.name, own), spec.dtype)
    return arrays
