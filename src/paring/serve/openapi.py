"""The protocol as OpenAPI 3.1, for clients that are generated and for testers that throw things at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paring.engines.protocol import InputSpec
from paring.serve.dtypes import name_of

DOCUMENT = "3.1.0"


def schema(models: Mapping[str, Sequence[InputSpec]], with_token: bool) -> dict[str, Any]:
    """The document as plain data; `models` are the names served with what they take."""
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "enum": sorted(models)}}
    listed = {"type": "array", "items": _object("name", "version")}
    tensors = _object("name", "versions", "inputs", "outputs")
    answer = _object("model_name", "model_version", "outputs")
    inference = _does("An inference.", answer, 400, 404, 408, 413, 415, 422, 503)
    inference["requestBody"] = {"required": True, "content": {"application/json": {"schema": _infer_request(models)}}}
    reload = _does("Looks at the files again.", _object("name", "version"), 404, 408, 409, 413, 415)
    paths: dict[str, Any] = {
        "/v2": {"get": _does("What this server is.", _object("name", "version", "extensions"))},
        "/v2/health/live": {"get": _does("Whether the process answers.", _object("live"))},
        "/v2/health/ready": {"get": _does("Whether it takes requests.", _object("ready"), 503)},
        "/v2/repository/index": {"post": _does("The models served.", listed)},
        "/v2/models/{model}": {"get": _does("Inputs and outputs.", tensors, 404)},
        "/v2/models/{model}/ready": {"get": _does("Whether it takes requests.", _object("ready"), 404, 503)},
        "/v2/models/{model}/config": {"get": _does("How it is batched.", _object("name", "max_batch_size"), 404)},
        "/v2/models/{model}/infer": {"post": inference},
        "/v2/repository/models/{model}/load": {"post": reload},
        "/metrics": {"get": _plain("Counts and times for Prometheus.")},
    }
    for path, methods in paths.items():
        for does in methods.values():
            if "{model}" in path:
                does["parameters"] = [name]
            if with_token and "health" not in path:
                does["responses"]["401"] = _error()
                does["security"] = [{"bearer": []}]
    document: dict[str, Any] = {"openapi": DOCUMENT, "info": {"title": "paring", "version": "2"}, "paths": paths}
    if with_token:
        document["components"] = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}}
    return document


def _does(summary: str, answer: dict[str, Any], *errors: int) -> dict[str, Any]:
    good = {"description": "done", "content": {"application/json": {"schema": answer}}}
    return {"summary": summary, "responses": {"200": good} | {str(status): _error() for status in errors}}


def _plain(summary: str) -> dict[str, Any]:
    good = {"description": "done", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"summary": summary, "responses": {"200": good}}


def _error() -> dict[str, Any]:
    return {"description": "refused", "content": {"application/json": {"schema": _object("error")}}}


def _object(*required: str) -> dict[str, Any]:
    return {"type": "object", "required": list(required)}


def _infer_request(models: Mapping[str, Sequence[InputSpec]]) -> dict[str, Any]:
    specs = [spec for inputs in models.values() for spec in inputs]
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"enum": sorted({spec.name for spec in specs})},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            "datatype": {"enum": sorted({name_of(spec.dtype) for spec in specs})},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
    }
    output = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": tensor},
            "outputs": {"type": "array", "items": output},
        },
    }
