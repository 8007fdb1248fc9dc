"""Requests that were right once: seeded mutations of good ones, in their JSON, their bytes and their heads."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

GOOD = {"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 24, 25, 2**31, 2**63, 2**70, -(2**63), 0.5, 1e308, "", "x", "FP32", "INT64",
    "BYTES", "BOOL", "\u0000", "../../etc/passwd", "%s%n", "é" * 50, [], {}, [[]], [1, [2]], [None],
    {"a": {"b": []}}, [2, 3], [-1, 3],
)  # fmt: skip


def mutants(count: int, seed: int = 0) -> Iterator[tuple[bytes, dict[str, str]]]:
    """(body, headers) of so many requests to a model x (?, 3) -> y; about one in ten is left as it was."""
    draw = random.Random(seed)
    for _ in range(count):
        content: Any = {"id": "7", "inputs": [json.loads(json.dumps(GOOD))], "outputs": [{"name": "y"}]}
        tail = bytes(draw.randrange(256) for _ in range(24))
        for _ in range(draw.choice((0, 1, 1, 2, 3))):
            _bend(draw, content)
        head = json.dumps(content).encode()
        headers = {"inference_header_content_length": str(len(head))}
        kind = draw.randrange(12)
        if kind == 0:
            place = draw.randrange(len(head))
            head = head[:place] + bytes([draw.randrange(256)]) + head[place + 1 :]
        elif kind == 1:
            tail = tail[: draw.randrange(24)] if draw.random() < 0.5 else tail * draw.randrange(2, 9)
        elif kind == 2:
            headers["inference_header_content_length"] = draw.choice(
                ("0", "-1", "1e3", "9" * 30, "0x10", " 5", str(len(head) + 24))
            )
        elif kind == 3:
            headers["content_encoding"] = draw.choice(("gzip", "deflate", "br", "gzip, gzip"))
        elif kind == 4:
            del headers["inference_header_content_length"]
        elif kind == 5:
            head = head[: draw.randrange(len(head))]
        yield head + tail, headers


def _bend(draw: random.Random, content: Any) -> None:
    """One value somewhere becomes an odd one, or goes."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            walk(value[key])

    walk(content)
    if not places:
        return
    holder, key = draw.choice(places)
    if isinstance(holder, dict) and draw.random() < 0.2:
        del holder[key]
    else:
        holder[key] = json.loads(json.dumps(draw.choice(ODD)))  # one of its own: it may be bent in turn
