"""An inference answer: JSON, with the tensors that were asked for in binary behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paring.engines.protocol import Array
from paring.errors import RequestError
from paring.serve.decode import InferRequest
from paring.serve.dtypes import name_of

Header = tuple[bytes, bytes]
JSON: Header = (b"content-type", b"application/json")


def encode(
    request: InferRequest, outputs: Mapping[str, Array], model: str, version: str
) -> tuple[bytes, Sequence[Header]]:
    """(body, headers). Raises RequestError (422) where JSON cannot say a number."""
    told: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for wanted in request.outputs:
        array = outputs[wanted.name]
        entry: dict[str, Any] = {"name": wanted.name, "datatype": name_of(array.dtype), "shape": list(array.shape)}
        if wanted.binary:
            tail.append(np.ascontiguousarray(array).tobytes())
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise RequestError(422, f"output {wanted.name!r}: it is infinite or not a number; ask for binary_data.")
            entry["data"] = array.ravel().tolist()
        told.append(entry)
    head: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": told}
    if request.id:
        head["id"] = request.id
    text = json.dumps(head, separators=(",", ":")).encode()
    if not tail:
        return text, (JSON,)
    length = str(len(text)).encode()
    headers = ((b"content-type", b"application/octet-stream"), (b"inference-header-content-length", length))
    return b"".join((text, *tail)), headers
