"""An MLflow model of the onnx flavour: `MLmodel` and `model.onnx`, loadable by `mlflow.onnx` and `mlflow.pyfunc`."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import uuid
from datetime import UTC, datetime
from pathlib import Path

import yaml

from paring.deploy.artifact import Shipment, copy_model
from paring.engines.protocol import InputSpec

PROVIDER = "CPUExecutionProvider"


def write_mlflow(ship: Shipment, out: Path) -> str:
    """Writes the model folder, and returns how to serve it."""
    copy_model(ship, out / "model.onnx")
    onnx_version, ort_version = (_version(ship, name) for name in ("onnx", "onnxruntime"))
    content = {
        "flavors": {
            "onnx": {
                "data": "model.onnx",
                "onnx_version": onnx_version,
                "providers": [PROVIDER],
                "onnx_session_options": None,
                "code": None,
            },
            "python_function": {
                "loader_module": "mlflow.onnx",
                "data": "model.onnx",
                "python_version": platform.python_version(),
                "env": {"virtualenv": "python_env.yaml"},
            },
        },
        "model_uuid": uuid.uuid5(uuid.NAMESPACE_OID, ship.version).hex,
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "signature": {"inputs": _signature(ship.inputs), "outputs": _signature(ship.outputs)},
        "metadata": {"paring_version_of_file": ship.version},
    }
    (out / "MLmodel").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    needed = ["mlflow", f"onnx=={onnx_version}", f"onnxruntime=={ort_version}"]
    (out / "requirements.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (out / "python_env.yaml").write_text(yaml.safe_dump(environment), encoding="utf-8")
    return f"mlflow models serve -m {out}"


def _signature(specs: tuple[InputSpec, ...]) -> str:
    def told(spec: InputSpec) -> dict[str, object]:
        shape = [-1 if size is None else size for size in spec.shape or ()]
        return {"type": "tensor", "name": spec.name, "tensor-spec": {"dtype": str(spec.dtype), "shape": shape}}

    return json.dumps([told(spec) for spec in specs])


def _version(ship: Shipment, name: str) -> str:
    recorded = ship.manifest.get("versions", {}).get(name)
    return str(recorded or importlib.metadata.version(name))
