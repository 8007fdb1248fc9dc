"""`paring deploy`: an artifact handed over to another server. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paring.errors import UnknownNameError

if TYPE_CHECKING:
    from paring.deploy.artifact import Shipment

PLACES = ("triton", "ovms", "kserve", "mlflow", "docker")


def deploy(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="An artifact folder.")],
    to: Annotated[str, typer.Option("--to", help=f"{', '.join(PLACES)}.")],
    out: Annotated[Path, typer.Option("--out", help="An empty or new folder to write into.")],
    name: Annotated[str | None, typer.Option(help="What the model shall be called; else as its folder.")] = None,
) -> None:
    """Writes what another server reads: a model repository, an InferenceService, an MLflow model, a Dockerfile."""
    from paring.cli.consoles import console
    from paring.deploy.artifact import empty_folder, shipment
    from paring.serve.names import named_paths

    if to not in PLACES:
        raise UnknownNameError("place", to, PLACES, "--to")
    found = name or next(iter(named_paths([str(artifact)]))).lower().replace("_", "-").replace(".", "-")
    ship = shipment(artifact, found)
    start = _writer(to)(ship, empty_folder(out))
    console.print(f"Wrote {out} for {to}. Next:\n  {start}", soft_wrap=True, highlight=False, markup=False)


def _writer(to: str) -> Callable[[Shipment, Path], str]:
    from paring.deploy.docker import write_docker
    from paring.deploy.kserve import write_kserve
    from paring.deploy.mlflow import write_mlflow
    from paring.deploy.openvino import write_ovms
    from paring.deploy.triton import write_triton

    return {
        "triton": write_triton,
        "ovms": write_ovms,
        "kserve": write_kserve,
        "mlflow": write_mlflow,
        "docker": write_docker,
    }[to]
