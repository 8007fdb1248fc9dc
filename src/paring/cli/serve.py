"""`paring serve`: files answered for over HTTP. Imports no torch."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paring.errors import MissingError, SettingError, UnknownNameError

if TYPE_CHECKING:
    from paring.serve.on_ray import Replicas

TOKEN = "PARING_TOKEN"
LOGS = ("all", "events", "none")


def serve(
    artifacts: Annotated[
        list[str], typer.Argument(metavar="[NAME=]PATH ...", help="Artifact folders or .onnx files, one a model.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; only this machine by default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one and says which.")] = 8000,
    engine: Annotated[str | None, typer.Option(help="onnxruntime or openvino; else as the manifest says.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16; else as the manifest says.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads a call.")] = 1,
    instances: Annotated[int, typer.Option(min=1, help="Calls at a time, for each model.")] = 1,
    max_batch: Annotated[int, typer.Option(min=1, help="Rows in one call; 1 turns batching off.")] = 32,
    batch_delay: Annotated[float, typer.Option(min=0, help="Ms an idle model waits for a batch to fill.")] = 0.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Rows that may wait; more are refused with 503.")] = 512,
    timeout: Annotated[float, typer.Option(help="Ms within which an accepted request is answered.")] = 10_000.0,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a body, as sent and unpacked.")] = 8 << 20,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of one request.")] = 256,
    max_length: Annotated[int, typer.Option(min=1, help="Largest other free dimension.")] = 1024,
    drain: Annotated[float, typer.Option(min=0, help="Seconds from SIGTERM until the port closes.")] = 1.0,
    shadow: Annotated[
        Path | None,
        typer.Option(help="An artifact that sees a share of the traffic of the first model and answers none."),
    ] = None,
    canary: Annotated[
        Path | None,
        typer.Option(help="An artifact that answers a share of the first model's requests, until it is surely worse."),
    ] = None,
    fraction: Annotated[float, typer.Option(help="Share of the traffic of the shadow or canary.")] = 0.1,
    margin: Annotated[float, typer.Option(help="Drop of the shadow or canary that would be put up with.")] = 0.01,
    token_file: Annotated[
        Path | None, typer.Option(help=f"File with the bearer token to ask for; else the variable {TOKEN}.")
    ] = None,
    log: Annotated[str, typer.Option(help="all, events (no line a request) or none.")] = "all",
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Scale out on Ray Serve: a cluster's address, or `local`.")
    ] = None,
    replicas: Annotated[
        str, typer.Option(metavar="LEAST-MOST", help="With --ray: how many servers, by the requests under way.")
    ] = "1-4",
) -> None:
    """Serves files by the Open Inference Protocol V2: batching, back-pressure, metrics, swap and drain."""
    _check_installed("serve" if ray is None else "ray-serve")
    from paring.serve.app import App
    from paring.serve.canary import Canary
    from paring.serve.http import bound_socket, run_server
    from paring.serve.journal import Journal
    from paring.serve.limits import Limits
    from paring.serve.metrics import Metrics
    from paring.serve.model import Choice, open_model
    from paring.serve.names import named_paths
    from paring.serve.repository import Repository
    from paring.serve.shadow import Shadow

    for value, known, option in ((log, LOGS, "--log"), (engine, ("onnxruntime", "openvino"), "--engine")):
        if value is not None and value not in known:
            raise UnknownNameError(option.removeprefix("--"), value, known, option)
    limits = Limits(
        max_batch=max_batch, batch_delay_ms=batch_delay, max_queue=max_queue, timeout_ms=timeout,
        max_body_bytes=max_body, max_rows=min(max_rows, max_queue), max_length=max_length, drain_s=drain,
    )  # fmt: skip
    paths, token, choice = named_paths(artifacts), read_token(token_file), Choice(engine, precision, threads)
    if ray is not None:
        from paring.serve.on_ray import Replica, run_on_ray

        if shadow is not None or canary is not None:
            raise SettingError(
                "--shadow or --canary with --ray: each replica would compare a part of its own. Leave one away."
            )
        replica = Replica({name: path.resolve() for name, path in paths.items()}, choice, limits, instances, token, log)
        run_on_ray(
            replica, replicas_of(replicas), None if ray == "local" else ray, host, port, cores=threads * instances
        )
        return
    listener = bound_socket(host, port)
    journal, metrics = Journal(log), Metrics()
    try:
        models = Repository(paths, choice, limits, journal, metrics, instances)
        if shadow is not None:
            compared = Shadow(open_model(shadow, choice), fraction, margin)
            models.add_shadow(next(iter(paths)), compared)
        if canary is not None:
            tried = Canary(open_model(canary, choice), limits, fraction, margin, instances)
            models.add_canary(next(iter(paths)), tried)
        run_server(App(models, limits, metrics, journal, token), listener)
    finally:
        listener.close()
        journal.close()


def replicas_of(text: str) -> Replicas:
    """`1-4`, or `2` for always two. Raises SettingError."""
    from paring.serve.on_ray import Replicas

    least, _, most = text.partition("-")
    if not (least.isdecimal() and (most or least).isdecimal()):
        raise SettingError(f"--replicas {text}: it must be two whole numbers, as in 1-4, or one.")
    return Replicas(int(least), int(most or least))


def read_token(file: Path | None) -> str | None:
    """The bearer token in a file, else in the environment; None for none. Raises SettingError."""
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingError(f"--token-file {file}: cannot be read: {error.strerror}.") from None
    if not token:
        raise SettingError(f"--token-file {file}: it is empty; write the token into it.")
    return token


def _check_installed(extra: str) -> None:
    """Raises MissingError naming the first package of the extra that is not there."""
    for name in ("prometheus_client", "uvicorn", "httptools"):
        if find_spec(name) is None:
            raise MissingError(f"paring serve: {name} is not installed. Run: pip install 'paring[{extra}]'")
