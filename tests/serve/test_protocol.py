"""A client that knows nothing of Paring: `tritonclient`, unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.serve.models import Served, W, X


@pytest.fixture
def client(server: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address) as found:
        yield found


def x_input(binary: bool = True) -> triton.InferInput:
    given = triton.InferInput("x", list(X.shape), "FP32")
    given.set_data_from_numpy(X, binary_data=binary)
    return given


def test_health_and_metadata(client: triton.InferenceServerClient, server: Served) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("linear")
    version = server.app.models.find("linear").model.version
    assert client.is_model_ready("linear", version)
    told = client.get_model_metadata("linear")
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
    assert told["versions"] == [version]
    assert client.get_model_config("linear")["max_batch_size"] == 32
    assert {row["name"] for row in client.get_model_repository_index()} == {"linear", "lookup"}
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_infer(client: triton.InferenceServerClient, binary_in: bool, binary_out: bool) -> None:
    wanted = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    got = client.infer("linear", [x_input(binary_in)], outputs=wanted, request_id="seven")
    np.testing.assert_array_equal(got.as_numpy("y"), X @ W)
    assert got.get_response()["id"] == "seven"


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_packed_request(client: triton.InferenceServerClient, packing: str) -> None:
    got = client.infer("linear", [x_input()], request_compression_algorithm=packing)
    np.testing.assert_array_equal(got.as_numpy("y"), X @ W)


def test_many_at_once(client: triton.InferenceServerClient, server: Served) -> None:
    with triton.InferenceServerClient(server.address, concurrency=8) as many:
        waiting = [many.async_infer("linear", [x_input()]) for _ in range(40)]
        for one in waiting:
            np.testing.assert_array_equal(one.get_result().as_numpy("y"), X @ W)


def test_several_inputs_of_integers(client: triton.InferenceServerClient) -> None:
    ids, mask = np.array([[1, 2, 3], [4, 0, 0]]), np.array([[1, 1, 1], [1, 0, 0]])
    given = []
    for name, array in (("ids", ids), ("mask", mask)):
        given.append(triton.InferInput(name, [2, 3], "INT64"))
        given[-1].set_data_from_numpy(array)
    got = client.infer("lookup", given).as_numpy("y")
    np.testing.assert_array_equal(got, [[12, 15], [8, 9]])  # rows (2i, 2i + 1) of the ids kept, summed


def test_a_refusal_reaches_the_client_as_words(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="model 'nobody' is not served here"):
        client.infer("nobody", [x_input()])


def test_reload(client: triton.InferenceServerClient) -> None:
    client.load_model("linear")
    assert client.is_model_ready("linear")
