"""An inference request of the Open Inference Protocol V2, with its binary tensor extension, checked against a model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from paring.engines.protocol import Array, InputSpec, shown
from paring.errors import EngineError, RequestError
from paring.serve.dtypes import name_of
from paring.serve.limits import Limits
from paring.serve.payload import from_bytes, from_json

MOST_ID = 256
REFUSED = ("shared_memory_region", "classification", "sequence_id")


@dataclass(frozen=True)
class Wanted:
    """An output that was asked for, and how."""

    name: str
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """A request that fits its model. `timeout_ms` is the asker's own bound, None if it has none."""

    id: str
    inputs: Mapping[str, Array]
    outputs: tuple[Wanted, ...]
    rows: int
    timeout_ms: float | None = None


def decode(
    body: bytes, head_bytes: str | None, inputs: Sequence[InputSpec], outputs: Sequence[str], limits: Limits
) -> InferRequest:
    """The request in `body`; `head_bytes` is the header Inference-Header-Content-Length, None if it was not sent.

    Raises: RequestError (400) in one line.
    """
    size = _head_size(head_bytes, len(body))
    content = read_object(body[:size])
    request_id = _text(content.get("id", ""), "id")
    if len(request_id) > MOST_ID:
        raise RequestError(400, f"id: it has {len(request_id)} characters; at most {MOST_ID} are allowed.")
    parameters = _parameters(content, "request")
    arrays = _inputs(content, memoryview(body)[size:], {spec.name: spec for spec in inputs}, limits)
    wanted = _outputs(content, outputs, bool(parameters.get("binary_data_output", False)))
    return InferRequest(request_id, arrays, wanted, _rows(arrays), _timeout(parameters))


def _head_size(head_bytes: str | None, total: int) -> int:
    if head_bytes is None:
        return total
    if not (head_bytes.isascii() and head_bytes.isdigit() and len(head_bytes) < 12 and 0 < int(head_bytes) <= total):
        raise RequestError(
            400, f"Inference-Header-Content-Length: it must be the bytes of the JSON, 1 to the body's {total}."
        )
    return int(head_bytes)


def read_object(text: bytes) -> dict[str, Any]:
    """A body that is a JSON object. Raises RequestError (400)."""
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(400, f"body: it is not JSON{where}.") from None
    if not isinstance(content, dict):
        raise RequestError(400, "body: it must be a JSON object with a list of inputs.")
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _inputs(
    content: Mapping[str, Any], tail: memoryview, specs: Mapping[str, InputSpec], limits: Limits
) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for entry in _objects(content, "inputs"):
        name = _text(entry.get("name"), "inputs: name")
        if name not in specs:
            raise RequestError(400, f"inputs: the model has no input {_short(name)}; it takes {', '.join(specs)}.")
        if name in arrays:
            raise RequestError(400, f"input {name!r}: it is given twice.")
        spec = specs[name]
        shape = _shape(entry, spec, limits)
        if (datatype := entry.get("datatype")) != name_of(spec.dtype):
            raise RequestError(
                400, f"input {name!r}: datatype is {_short(datatype)}; it must be {name_of(spec.dtype)}."
            )
        parameters = _parameters(entry, f"input {name!r}")
        if (size := parameters.get("binary_data_size")) is not None:
            if "data" in entry or type(size) is not int or not 0 <= size <= len(tail):
                raise RequestError(
                    400,
                    f"input {name!r}: binary_data_size must be a whole number within the {len(tail)} bytes that are "
                    "left after the JSON, and data must be left out.",
                )
            flat, tail = from_bytes(name, tail[:size], spec.dtype), tail[size:]
        else:
            flat = from_json(name, entry.get("data"), spec.dtype)
        if flat.size != math.prod(shape):
            raise RequestError(
                400, f"input {name!r}: shape {list(shape)} takes {math.prod(shape)} values, got {flat.size}."
            )
        arrays[name] = flat.reshape(shape)
    if missing := [name for name in specs if name not in arrays]:
        raise RequestError(400, f"inputs: {missing[0]!r} is missing; the model takes {', '.join(specs)}.")
    if len(tail):
        raise RequestError(400, f"body: {len(tail)} bytes are left over after the last binary tensor.")
    return arrays


def _shape(entry: Mapping[str, Any], spec: InputSpec, limits: Limits) -> tuple[int, ...]:
    given = entry.get("shape")
    if not isinstance(given, list) or not all(type(size) is int and 0 < size < 2**31 for size in given):
        raise RequestError(400, f"input {spec.name!r}: shape must be a list of whole numbers above 0.")
    wanted = spec.shape if spec.shape is not None else (None,) * len(given)
    fits = len(given) == len(wanted) and all(w is None or w == g for w, g in zip(wanted, given, strict=True))
    if not fits or len(given) > 16:
        raise RequestError(400, f"input {spec.name!r}: shape is {given[:16]}; the model takes {shown(spec.shape)}.")
    for axis, (size, fixed) in enumerate(zip(given, wanted, strict=True)):
        most = limits.max_length if axis else limits.max_rows
        if fixed is None and size > most:
            raise RequestError(400, f"input {spec.name!r}: dimension {axis} is {size}; at most {most} is allowed.")
    return tuple(given)


def _outputs(content: Mapping[str, Any], names: Sequence[str], binary: bool) -> tuple[Wanted, ...]:
    if not content.get("outputs"):
        return tuple(Wanted(name, binary) for name in names)
    wanted: dict[str, Wanted] = {}
    for entry in _objects(content, "outputs"):
        name = _text(entry.get("name"), "outputs: name")
        if name not in names:
            raise RequestError(400, f"outputs: the model has no output {_short(name)}; it gives {', '.join(names)}.")
        chosen = _parameters(entry, f"output {name!r}").get("binary_data", binary)
        wanted[name] = Wanted(name, chosen is True)
    return tuple(wanted.values())


def _rows(arrays: Mapping[str, Array]) -> int:
    return max((array.shape[0] if array.ndim else 1 for array in arrays.values()), default=1)


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    """Triton's request parameter, in microseconds."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise RequestError(400, "request: timeout must be a whole number of microseconds above 0.")
    return value / 1e3


def _objects(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = content.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise RequestError(400, f"{key}: it must be a list of objects.")
    if len(found) > 256:
        raise RequestError(400, f"{key}: {len(found)} entries are more than any model has.")
    return found


def _parameters(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = entry.get("parameters", {})
    if not isinstance(found, dict):
        raise RequestError(400, f"{where}: parameters must be an object.")
    for name in REFUSED:
        if found.get(name):
            raise RequestError(400, f"{where}: {name} is not supported by this server.")
    return found


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise RequestError(400, f"{where}: it must be a string.")
    return value


def _short(value: Any) -> str:
    return repr(value)[:60]


def metadata(specs: Sequence[InputSpec]) -> list[dict[str, Any]]:
    """Tensors as the protocol describes them; -1 for a free dimension. Raises EngineError for an unknown rank."""
    told = []
    for spec in specs:
        if spec.shape is None:
            raise EngineError(f"{spec.name}: its rank is not known, so it cannot be served. Export it with a shape.")
        shape = [-1 if size is None else size for size in spec.shape]
        told.append({"name": spec.name, "datatype": name_of(spec.dtype), "shape": shape})
    return told
