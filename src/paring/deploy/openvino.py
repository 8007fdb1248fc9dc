"""A model repository for OpenVINO Model Server: `models/NAME/1/model.onnx` and `config.json`."""

from __future__ import annotations

import json
from pathlib import Path

from paring.deploy.artifact import Shipment, copy_model


def write_ovms(ship: Shipment, out: Path) -> str:
    """Writes the repository, and returns how to start it."""
    copy_model(ship, out / "models" / ship.name / "1" / "model.onnx")
    precision = (ship.manifest.get("measurement") or {}).get("precision", "fp32")
    hint = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}[precision]
    plugin = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    entry = {"name": ship.name, "base_path": f"/models/{ship.name}", "plugin_config": plugin}
    content = {"model_config_list": [{"config": entry}]}
    (out / "config.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return (
        f"docker run -p 8000:8000 -v $PWD/{out}/models:/models -v $PWD/{out}/config.json:/config.json "
        "openvino/model_server --config_path /config.json --rest_port 8000"
    )
