"""What is handed over, read by the readers it is meant for where one can be installed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from google.protobuf import text_format

from paring.artifacts.manifest import verify_artifact, write_manifest
from paring.core.target import Target
from paring.engines import open_session
from paring.engines.openvino import open_openvino, settings
from tests.cli.calls import Call, paring_in
from tests.serve.models import W, X, artifact, lookup


def deployed(folder: Path, to: str, *more: str) -> Call:
    artifact(folder / "small")
    return paring_in(folder, "deploy", "small", "--to", to, "--out", "there", *more)


def triton_schema() -> ModuleType:
    """Triton's own message for config.pbtxt, as its client ships it (its package asks for grpc, the file does not)."""
    package = importlib.util.find_spec("tritonclient")
    assert package is not None and package.submodule_search_locations
    path = Path(next(iter(package.submodule_search_locations))) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:Protobuf gencode version")
def test_triton_reads_its_config(tmp_path: Path) -> None:
    assert deployed(tmp_path, "triton").code == 0
    folder = tmp_path / "there/small"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), triton_schema().ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("small", "onnxruntime", 32)
    assert [(one.name, list(one.dims)) for one in config.input] == [("x", [3])]
    assert [(one.name, list(one.dims)) for one in config.output] == [("y", [2])]
    assert config.HasField("dynamic_batching")
    assert (folder / "1/model.onnx").read_bytes() == (tmp_path / "small/model.onnx").read_bytes()


@pytest.mark.filterwarnings("ignore:Protobuf gencode version")
def test_triton_types_and_free_dimensions(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    lookup(tmp_path / "text/model.onnx")
    write_manifest(tmp_path / "text", recipe="passes: []", edits=[], machine={})
    assert paring_in(tmp_path, "deploy", "text", "--to", "triton", "--out", "there").code == 0
    schema = triton_schema()
    config = text_format.Parse((tmp_path / "there/text/config.pbtxt").read_text(), schema.ModelConfig())
    assert [(one.name, one.data_type, list(one.dims)) for one in config.input] == [
        ("ids", schema.TYPE_INT64, [-1]),
        ("mask", schema.TYPE_INT64, [-1]),
    ]


def test_openvino_loads_what_the_model_server_is_told(tmp_path: Path) -> None:
    assert deployed(tmp_path, "ovms").code == 0
    (entry,) = json.loads((tmp_path / "there/config.json").read_text())["model_config_list"]
    told = entry["config"]
    assert told["name"] == "small"
    file = tmp_path / f"there{told['base_path']}" / "1/model.onnx"
    (y,) = open_session(file, Target(engine="openvino")).run({"x": X})
    np.testing.assert_allclose(y, X @ W)
    import openvino

    openvino.Core().compile_model(str(file), "CPU", told["plugin_config"])  # refuses a key or value it does not know


def test_the_model_server_runs_the_measured_target(tmp_path: Path) -> None:
    import openvino

    artifact(tmp_path / "small")
    target = {"engine": "openvino", "precision": "fp32", "threads": 2}
    write_manifest(tmp_path / "small", recipe="passes: []", edits=[], machine={}, target=target, measurement=target)
    assert paring_in(tmp_path, "deploy", "small", "--to", "ovms", "--out", "there").code == 0
    (entry,) = json.loads((tmp_path / "there/config.json").read_text())["model_config_list"]
    told = entry["config"]["plugin_config"]
    assert all(isinstance(value, str) for value in told.values())
    file, measured = tmp_path / "small/model.onnx", Target("openvino", threads=2)
    served = openvino.Core().compile_model(str(file), "CPU", told)
    session = open_openvino(file, measured, exact=False, static=None)
    assert told.keys() == settings(measured, exact=False).keys()
    assert {key: served.get_property(key) for key in told} == {key: session.native.get_property(key) for key in told}


def test_docker_holds_the_artifact_whole_and_no_torch(tmp_path: Path) -> None:
    assert deployed(tmp_path, "docker", "--name", "encoder").code == 0
    verify_artifact(tmp_path / "there/artifact")
    text = (tmp_path / "there/Dockerfile").read_text()
    steps = [line.split()[0] for line in text.splitlines()]
    assert steps[0] == "FROM" and steps[-1] == "ENTRYPOINT" and steps.index("USER") < steps.index("ENTRYPOINT")
    command = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.M)[1])  # type: ignore[index]
    assert command[:3] == ["paring", "serve", "encoder=/artifact"]
    needed = (tmp_path / "there/requirements.txt").read_text()
    assert "torch" not in needed and "onnxruntime==" in needed


def test_kserve_gets_a_service_with_probes(tmp_path: Path) -> None:
    assert deployed(tmp_path, "kserve").code == 0
    service = yaml.safe_load((tmp_path / "there/inferenceservice.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    (container,) = service["spec"]["predictor"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert (tmp_path / "there/image/Dockerfile").is_file()


def test_mlflow_model(tmp_path: Path) -> None:
    assert deployed(tmp_path, "mlflow").code == 0
    told = yaml.safe_load((tmp_path / "there/MLmodel").read_text())
    assert told["flavors"]["onnx"]["data"] == "model.onnx"
    (given,) = json.loads(told["signature"]["inputs"])
    assert given == {"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}


def test_mlflow_loads_it(tmp_path: Path) -> None:
    mlflow = pytest.importorskip(
        "mlflow", reason="mlflow is not installed here; it was loaded by hand with mlflow 3.17"
    )
    assert deployed(tmp_path, "mlflow").code == 0
    answers = mlflow.pyfunc.load_model(str(tmp_path / "there")).predict(X)
    np.testing.assert_allclose(answers["y"], X @ W)


@pytest.mark.parametrize(
    ("to", "more", "words"),
    [
        ("tritn", (), "did you mean 'triton'?"),
        ("docker", ("--name", "A B"), "lower-case letters"),
    ],
)
def test_mistakes(tmp_path: Path, to: str, more: tuple[str, ...], words: str) -> None:
    call = deployed(tmp_path, to, *more)
    assert call.code == 2 and words in call.only_line


def test_a_server_need_not_be_installed(tmp_path: Path) -> None:
    """What `paring serve` alone needs is not imported."""
    artifact(tmp_path / "small")
    code = "import sys; sys.modules['prometheus_client'] = sys.modules['uvicorn'] = None; from paring.cli import main"
    args = ("deploy", "small", "--to", "triton", "--out", "there")
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; main()", *args], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert deployed(tmp_path, "triton").code == 0
    assert "it exists and is not empty" in deployed(tmp_path, "triton").only_line
