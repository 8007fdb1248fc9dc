"""A KServe InferenceService over the image of `--to docker`, which speaks KServe's protocol itself."""

from __future__ import annotations

from pathlib import Path

import yaml

from paring.deploy.artifact import Shipment
from paring.deploy.docker import write_docker

PORT = 8000


def write_kserve(ship: Shipment, out: Path) -> str:
    """Writes the image's build folder and the service, and returns how to apply it."""
    write_docker(ship, out / "image")
    service = out / "inferenceservice.yaml"
    service.write_text(yaml.safe_dump(inference_service(ship), sort_keys=False), encoding="utf-8")
    return f"docker build -t {ship.name}:{ship.version} {out}/image && kubectl apply -f {service}"


def inference_service(ship: Shipment) -> dict[str, object]:
    """The resource as plain data."""
    probe = {"httpGet": {"path": "/v2/health/ready", "port": PORT}, "periodSeconds": 2}
    alive = {"httpGet": {"path": "/v2/health/live", "port": PORT}, "periodSeconds": 10}
    container = {
        "name": "kserve-container",
        "image": f"{ship.name}:{ship.version}",
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": probe,
        "livenessProbe": alive,
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "allowPrivilegeEscalation": False},
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": ship.name, "labels": {"model-version": ship.version}},
        "spec": {"predictor": {"minReplicas": 1, "maxReplicas": 4, "containers": [container]}},
    }
