"""An image that serves the artifact by `paring serve`, without torch, as a user without rights."""

from __future__ import annotations

import shutil
from pathlib import Path

import paring
from paring.deploy.artifact import Shipment

# What `paring serve` imports; --no-deps keeps torch and the training libraries out.
NEEDED = ("numpy", "onnxruntime", "openvino", "uvicorn", "httptools", "prometheus-client", "typer", "rich", "PyYAML")

DOCKERFILE = """\
FROM python:3.11-slim
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir -r /tmp/requirements.txt && pip install --no-cache-dir --no-deps paring=={version}
RUN useradd --create-home --uid 10001 serve
USER 10001
COPY --chown=10001 artifact /artifact
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/health/ready')"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["paring", "serve", "{name}=/artifact", "--host", "0.0.0.0", "--port", "8000"]
"""


def write_docker(ship: Shipment, out: Path) -> str:
    """Writes the build folder, and returns how to build it."""
    shutil.copytree(ship.folder, out / "artifact")
    (out / "Dockerfile").write_text(DOCKERFILE.format(version=paring.__version__, name=ship.name), encoding="utf-8")
    pinned = ship.manifest.get("versions", {})
    lines = [f"{name}=={pinned[name]}" if name in pinned else name for name in NEEDED]
    (out / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"docker build -t {ship.name} {out}"
