"""A model repository for OpenVINO Model Server: `models/NAME/1/model.onnx` and `config.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from paring.core.target import Target
from paring.deploy.artifact import Shipment, copy_model
from paring.engines.openvino import settings


def write_ovms(ship: Shipment, out: Path) -> str:
    """Writes the repository, and returns how to start it."""
    copy_model(ship, out / "models" / ship.name / "1" / "model.onnx")
    entry = {"name": ship.name, "base_path": f"/models/{ship.name}", "plugin_config": plugin_config(ship.manifest)}
    content = {"model_config_list": [{"config": entry}]}
    (out / "config.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return (
        f"docker run -p 8000:8000 -v $PWD/{out}/models:/models -v $PWD/{out}/config.json:/config.json "
        "openvino/model_server --config_path /config.json --rest_port 8000"
    )


def plugin_config(manifest: dict[str, Any]) -> dict[str, str]:
    """The settings of the session that was measured: its precision and threads, and all that Paring sets besides.

    As strings, since the server's reader refuses booleans and its earlier releases numbers too. Shapes stay free: a
    server's batches vary.
    """
    measured = manifest.get("measurement") or {}
    target = Target("openvino", measured.get("precision", "fp32"), measured.get("threads", 1))
    return {name: _text(value) for name, value in settings(target, exact=False).items()}


def _text(value: str | int | bool) -> str:
    return ("YES" if value else "NO") if isinstance(value, bool) else str(value)
