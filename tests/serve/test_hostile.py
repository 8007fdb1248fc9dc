"""What a server must withstand: nothing here may be answered with 5xx, hang, or tell of the host."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.serve.asking import Got, ask, connect, infer, parse, read
from tests.serve.models import Served, linear, serving

X3 = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}


def one(**changes: Any) -> dict[str, Any]:
    """The good request with one thing wrong; None takes a key out."""
    return {"inputs": [{key: value for key, value in (X3 | changes).items() if value is not None}]}


REFUSED = [
    (b"", "body: it is not JSON at character 0"),
    (b"{", "body: it is not JSON"),
    (b"\xff\xfe\x00", "body: it is not JSON"),
    (b"[" * 50_000, "body: it is not JSON"),
    (b"[]", "body: it must be a JSON object"),
    (b'{"inputs": [{"name": "x", "data": [NaN]}]}', "body: it is not JSON"),
    (b'{"id": 9' + b"9" * 5000 + b"}", "body: it is not JSON"),
    ({}, "inputs: it must be a list of objects"),
    ({"inputs": []}, "inputs: 'x' is missing; the model takes x"),
    ({"inputs": [1]}, "inputs: it must be a list of objects"),
    ({"inputs": [X3, X3]}, "input 'x': it is given twice"),
    ({"inputs": [X3] * 300}, "300 entries are more than any model has"),
    ({"inputs": [X3], "id": 7}, "id: it must be a string"),
    ({"inputs": [X3], "id": "i" * 300}, "id: it has 300 characters"),
    ({"inputs": [X3], "parameters": []}, "parameters must be an object"),
    ({"inputs": [X3], "parameters": {"timeout": -1}}, "timeout must be a whole number"),
    ({"inputs": [X3], "outputs": [{"name": "z"}]}, "the model has no output 'z'; it gives y"),
    (
        {"inputs": [X3], "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        "classification is not supported",
    ),
    (one(name="w"), "the model has no input 'w'; it takes x"),
    (one(name=None), "inputs: name: it must be a string"),
    (one(datatype="FP64"), "datatype is 'FP64'; it must be FP32"),
    (one(datatype=None), "datatype is None"),
    (one(shape=[3]), "shape is [3]; the model takes (?, 3)"),
    (one(shape=[0, 3], data=[]), "whole numbers above 0"),
    (one(shape=[-1, 3]), "whole numbers above 0"),
    (one(shape=[True, 3]), "whole numbers above 0"),
    (one(shape=[1.0, 3]), "whole numbers above 0"),
    (one(shape=[2**40, 3]), "whole numbers above 0"),
    (one(shape=[10_000, 3]), "dimension 0 is 10000; at most 256 is allowed"),
    (one(shape=[2, 3]), "shape [2, 3] takes 6 values, got 3"),
    (one(data=None), "data is null; it must be a list of numbers"),
    (one(data={"a": 1}), "data is an object"),
    (one(data=["1", 2, 3]), "data holds a string, and float32 takes numbers"),
    (one(data=[None, 2, 3]), "data holds null"),
    (one(data=[True, 2, 3]), "data holds true or false"),
    (one(data=[[1, 2], 3]), "data holds a list"),
    (one(data=[1e300, 2, 3]), "a number too large for float32"),
    (one(data=[10**400, 2, 3]), "a number too large for float32"),
    (one(parameters={"binary_data_size": 12}, data=None), "within the 0 bytes that are left"),
    (one(parameters={"shared_memory_region": "r"}), "shared_memory_region is not supported"),
    (one(data=json.loads("[" * 40 + "1" + "]" * 40)), "nested deeper than 32"),
]


@pytest.mark.parametrize(("content", "words"), REFUSED, ids=range(len(REFUSED)))
def test_json_that_does_not_fit(server: Served, content: Any, words: str) -> None:
    got = infer(server.url, content)
    assert got.status == 400
    assert words in got.error
    harmless(got)


def test_whole_numbers_stay_whole(server: Served) -> None:
    ids = {"name": "ids", "shape": [1, 1], "datatype": "INT64"}
    mask = ids | {"name": "mask", "data": [1]}
    for data, words in (([0.5], "a fraction, and int64 takes whole numbers"), ([2**63], "outside int64")):
        got = infer(server.url, {"inputs": [ids | {"data": data}, mask]}, "lookup")
        assert (got.status, words in got.error) == (400, True)


def test_what_only_the_model_can_refuse(server: Served) -> None:
    ids = {"name": "ids", "shape": [1, 1], "datatype": "INT64", "data": [99]}
    got = infer(server.url, {"inputs": [ids, ids | {"name": "mask", "data": [1]}]}, "lookup")
    assert (got.status, got.error) == (400, "inputs: the model cannot run on these inputs.")


def test_rows_that_differ_between_inputs_never_share_a_batch(server: Served) -> None:
    ids = {"name": "ids", "shape": [2, 1], "datatype": "INT64", "data": [1, 2]}
    got = infer(server.url, {"inputs": [ids, ids | {"name": "mask", "shape": [1, 1], "data": [1]}]}, "lookup")
    assert (got.status, "same first dimension" in got.error) == (400, True)


def test_free_dimensions_are_bounded(server: Served) -> None:
    ids = {"name": "ids", "shape": [1, 65], "datatype": "INT64", "data": [1] * 65}
    got = infer(server.url, {"inputs": [ids, ids | {"name": "mask"}]}, "lookup")
    assert (got.status, got.error) == (400, "input 'ids': dimension 1 is 65; at most 64 is allowed.")


def binary(size: object, tail: bytes, head_bytes: object = None) -> tuple[bytes, dict[str, str]]:
    head = json.dumps(one(parameters={"binary_data_size": size}, data=None)).encode()
    return head + tail, {"inference_header_content_length": str(len(head) if head_bytes is None else head_bytes)}


@pytest.mark.parametrize(
    ("size", "tail", "head_bytes", "words"),
    [
        (12, b"\0" * 11, None, "within the 11 bytes that are left"),
        (11, b"\0" * 11, None, "11 bytes are no whole number of 4-byte values"),
        (8, b"\0" * 8, None, "takes 3 values, got 2"),
        (12, b"\0" * 13, None, "1 bytes are left over"),
        (-12, b"\0" * 12, None, "must be a whole number within"),
        (2**70, b"\0" * 12, None, "must be a whole number within"),
        ("12", b"\0" * 12, None, "must be a whole number within"),
        (True, b"\0" * 12, None, "must be a whole number within"),
        (12, b"\0" * 12, "x", "Inference-Header-Content-Length"),
        (12, b"\0" * 12, "-1", "Inference-Header-Content-Length"),
        (12, b"\0" * 12, "0", "Inference-Header-Content-Length"),
        (12, b"\0" * 12, "999999", "Inference-Header-Content-Length"),
        (12, b"\0" * 12, "9" * 5000, "Inference-Header-Content-Length"),
        (12, b"\0" * 12, 3, "body: it is not JSON"),
    ],
)
def test_binary_tensors_that_do_not_fit(
    server: Served, size: object, tail: bytes, head_bytes: object, words: str
) -> None:
    body, headers = binary(size, tail, head_bytes)
    got = infer(server.url, body, **headers)
    assert got.status == 400
    assert words in got.error
    harmless(got)


def test_numbers_that_json_cannot_say_are_given_in_binary_only(server: Served) -> None:
    body, headers = binary(12, b"\0\0\x80\x7f" * 3)  # infinities
    got = infer(server.url, body, **headers)
    assert (got.status, "ask for binary_data" in got.error) == (422, True)


def test_bodies_are_bounded(server: Served) -> None:
    assert infer(server.url, b" " * 100_001).status == 413
    assert infer(server.url, gzip.compress(b" " * 100_001), content_encoding="gzip").status == 413
    assert infer(server.url, b"{}", content_encoding="br").status == 415


def test_a_bomb_is_not_unpacked(server: Served) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    got = infer(server.url, bomb, content_encoding="gzip")
    assert (got.status, "larger than the 100000 bytes" in got.error) == (413, True)


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"no gzip", id="no gzip"),
        pytest.param(gzip.compress(b"{}")[:-1], id="cut short"),
        pytest.param(gzip.compress(b"{}") + b"x", id="a byte too many"),
        pytest.param(zlib.compress(b"{}")[2:], id="zlib without its head"),
    ],
)
def test_packed_data_that_is_broken(server: Served, packed: bytes) -> None:
    assert infer(server.url, packed, content_encoding="gzip").status == 400


def test_a_body_announced_too_large_is_refused_before_it_comes(server: Served) -> None:
    with connect(server.url) as link:
        link.sendall(b"POST /v2/models/linear/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 99999999999\r\n\r\n")
        assert parse(link.recv(65536)).status == 413


def test_a_body_without_length_is_cut_off(server: Served) -> None:
    with connect(server.url) as link:
        link.sendall(b"POST /v2/models/linear/infer HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            link.sendall(b"ea60\r\n" + b" " * 60_000 + b"\r\n")
        assert parse(link.recv(65536)).status == 413


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /v2 HTTP/1.1\r\nhost:",
        b"POST /v2/models/linear/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 50\r\n\r\n{",
    ],
)
def test_who_does_not_finish_is_sent_away(server: Served, sent: bytes) -> None:
    with connect(server.url) as link:
        link.sendall(sent)
        got = parse(link.recv(65536))
        assert got.status == 408
        harmless(got)


def test_heads_are_bounded(server: Served) -> None:
    with connect(server.url) as link:
        link.sendall(b"GET /v2 HTTP/1.1\r\nhost: t\r\nx-long: " + b"a" * 20_000)
        assert read(link).status == 431


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\nnonsense\r\n\r\n"]
)
def test_what_is_no_http(server: Served, sent: bytes) -> None:
    with connect(server.url) as link:
        link.sendall(sent)
        assert read(link).status in (400, 408)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/models",
        "/v2/models",
        "/v2/models/",
        "/v2/models/nobody",
        "/v2/models/../../etc/passwd",
        "/v2/models/..%2f..%2fetc%2fpasswd/infer",
        "/v2/models/linear/../../../etc/passwd",
        "/v2/models/linear%00",
        "/v2/models/linear/versions/../../x",
        "/v2/models/linear/versions/7",
        "/v2/models/" + "a" * 5000,
        "/v2/repository/models/linear/unload",
        "//v2",
        "/%ff%fe",
    ],
)
def test_paths_that_lead_nowhere(server: Served, path: str) -> None:
    got = ask(server.url, "POST" if path.endswith(("infer", "load")) else "GET", path)
    assert got.status == 404
    assert len(got.body) < 300
    harmless(got)


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("DELETE", "/v2", "GET"), ("GET", "/v2/models/linear/infer", "POST")]
)
def test_methods_that_do_not_fit(server: Served, method: str, path: str, allowed: str) -> None:
    got = ask(server.url, method, path)
    assert (got.status, got.headers["allow"]) == (405, allowed)


def test_a_token_is_asked_for_everywhere_but_by_probes(tmp_path: Path) -> None:
    with serving("s3cret", linear=linear(tmp_path / "linear.onnx")) as server:
        assert ask(server.url, "GET", "/v2/health/live").status == 200
        for path in ("/v2", "/metrics", "/v2/models/linear", "/v2/models/nobody"):
            for given in (
                {},
                {"authorization": "Bearer wrong"},
                {"authorization": "Basic s3cret"},
                {"authorization": "s3cret"},
            ):
                got = ask(server.url, "GET", path, **given)
                assert (got.status, got.headers["www-authenticate"]) == (401, "Bearer")
            right = ask(server.url, "GET", path, authorization="Bearer s3cret")
            assert right.status == (404 if "nobody" in path else 200)


def test_connections_are_bounded(tmp_path: Path) -> None:
    with serving(limits={"max_connections": 3}, linear=linear(tmp_path / "linear.onnx")) as server:
        links = [connect(server.url) for _ in range(3)]
        time.sleep(0.1)
        with connect(server.url) as fourth:
            got = read(fourth)
        assert (got.status, got.headers["retry-after"]) == (503, "1")
        for link in links:
            link.close()
        time.sleep(0.1)
        assert ask(server.url, "GET", "/v2").status == 200


def test_many_who_stall_keep_nobody_else_waiting(server: Served) -> None:
    stalled = [connect(server.url) for _ in range(50)]
    for link in stalled:
        link.sendall(b"POST /v2/models/linear/infer HTTP/1.1\r\ncontent-length: 9\r\n\r\n")
    answers: list[Got] = []
    threads = [threading.Thread(target=lambda: answers.append(infer(server.url, one()))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [got.status for got in answers] == [200] * 5
    for link in stalled:
        assert parse(link.recv(65536)).status == 408
        link.close()


def harmless(got: Got) -> None:
    """Tells nothing of the host: no path, no Python, no version of a library."""
    told = (got.body.decode() + str(got.headers)).lower()
    assert not [word for word in ("/tmp", "/work", "/home", ".py", "traceback", "uvicorn", "onnx") if word in told]
