"""The same app on Ray Serve: every replica is a whole server of ours behind Ray's proxy, and Ray sets their number.

https://docs.ray.io/en/latest/serve: replicas come and go with the requests under way, on one machine or many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paring.errors import SettingError
from paring.serve.app import App, Scope
from paring.serve.body import Receive
from paring.serve.http import WATCH_S, watch
from paring.serve.journal import Journal
from paring.serve.limits import Limits
from paring.serve.metrics import Metrics
from paring.serve.model import Choice
from paring.serve.reply import Send
from paring.serve.repository import Repository

QUIET = {"log_level": "WARNING", "enable_access_log": False}  # the app keeps its own journal


@dataclass(frozen=True)
class Replicas:
    """How many, and how many requests under way each should have before one more is started."""

    least: int = 1
    most: int = 4
    busy_at: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most or self.busy_at < 1:
            raise SettingError(f"replicas: {self.least} to {self.most}, busy at {self.busy_at}; it takes 1 <= a <= b.")

    def settings(self) -> dict[str, Any]:
        """As `serve.deployment` takes them. A replica may hold more than it is busy at, so that batches fill."""
        return {
            "autoscaling_config": {
                "min_replicas": self.least,
                "max_replicas": self.most,
                "target_ongoing_requests": self.busy_at,
            },
            "max_ongoing_requests": 4 * self.busy_at,
        }


@dataclass(frozen=True)
class Replica:
    """Makes one replica's app where it shall run; what it is made of travels there as plain values."""

    paths: Mapping[str, Path]
    choice: Choice
    limits: Limits
    instances: int = 1
    token: str | None = None
    log: str = "events"

    def __call__(self) -> Living:
        """Opens the models. Raises EngineError or CorruptFileError."""
        journal, metrics = Journal(self.log), Metrics()
        models = Repository(self.paths, self.choice, self.limits, journal, metrics, self.instances)
        return Living(App(models, self.limits, metrics, journal, self.token))


class Living:
    """The app, and the lifespan that Ray's wrapper asks for: watches the files from startup on, ends at shutdown."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        watching = asyncio.create_task(watch(self.app.models, WATCH_S))
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            self.app.models.close()
            self.app.journal.close()
        await send({"type": "lifespan.shutdown.complete"})


def deployed(replica: Callable[[], Living], replicas: Replicas, *, cores: float = 1.0) -> Any:
    """A Ray Serve application, ready for `serve.run`. Raises SettingError without `ray[serve]`."""
    serve = _ray_serve()

    def build() -> Living:
        return replica()

    class Paring:
        """Holds nothing; the app answers."""

    ingress = serve.ingress(build)(Paring)
    options = {
        "name": "paring",
        "ray_actor_options": {"num_cpus": cores},
        "logging_config": QUIET,
        **replicas.settings(),
    }
    return serve.deployment(**options)(ingress).bind()


def run_on_ray(
    replica: Replica, replicas: Replicas, address: str | None, host: str, port: int, *, cores: float = 1.0
) -> None:
    """Serves until SIGTERM or Ctrl-C: on the cluster at `address`, or on a Ray of its own here (None)."""
    serve, journal = _ray_serve(), Journal(replica.log)
    import ray

    ray.init(address=address, include_dashboard=False, logging_level=logging.ERROR)
    stop = threading.Event()
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        serve.start(http_options={"host": host, "port": port}, logging_config=QUIET)
        serve.run(deployed(replica, replicas, cores=cores), name="paring", route_prefix="/")
        journal("listening", host=host, port=port, models=list(replica.paths), ray=address or "here")
        stop.wait()
        journal("draining", why="signal")
        serve.delete("paring")
    finally:
        if address is None:
            serve.shutdown()
        ray.shutdown()
        journal("ended")
        journal.close()
        for one, handler in before.items():
            signal.signal(one, handler)


def _ray_serve() -> Any:
    try:
        from ray import serve
    except ImportError:
        raise SettingError(
            "--ray: Ray Serve is not installed here. Run: pip install 'ray[serve]', or leave --ray away."
        ) from None
    return serve
