"""The models a server answers for, each with its queue; a changed file is taken whole or not at all."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from paring.errors import EngineError, ParingError, RequestError
from paring.serve.batcher import Answer, Batcher
from paring.serve.canary import Canary, Tried
from paring.serve.decode import InferRequest
from paring.serve.journal import Journal
from paring.serve.limits import Limits
from paring.serve.metrics import Metrics
from paring.serve.model import Choice, Model, open_model, stamp
from paring.serve.shadow import Seen, Shadow


@dataclass(eq=False)
class Slot:
    """One name: where its files lie, the model of the moment, and its queue."""

    name: str
    path: Path
    choice: Choice
    model: Model
    seen: tuple[object, ...]
    queue: Batcher = field(init=False)
    shadow: Shadow | None = None
    canary: Canary | None = None
    refused: str | None = None  # why the newest file was not taken

    async def answer(self, asked: InferRequest) -> Answer:
        """The answer to one request, by the canary if there is one and it is drawn. Raises RequestError."""
        what = asked.inputs, asked.rows, asked.id, asked.timeout_ms
        return await (self.queue.submit(*what) if self.canary is None else self.canary.submit(self.queue, *what))

    def label(self, request_id: str, label: int) -> bool:
        """A late label; whether the shadow or the canary still knew the answer."""
        told = [one.label(request_id, label) for one in (self.shadow, self.canary) if one is not None]
        return any(told)


class Repository:
    """Name -> slot. Opening happens before the server starts; swapping on a thread, beside the traffic."""

    def __init__(
        self, paths: Mapping[str, Path], choice: Choice, limits: Limits, journal: Journal, metrics: Metrics,
        instances: int = 1,
    ) -> None:  # fmt: skip
        self.journal = journal
        self.metrics = metrics
        self.slots: dict[str, Slot] = {}
        self._swapping = asyncio.Lock()
        for name, path in paths.items():
            seen = stamp(path)
            slot = Slot(name, path, choice, open_model(path, choice), seen)
            slot.queue = Batcher(partial(_current, slot), limits, instances)
            self.slots[name] = slot
            metrics.watch("paring_queue_rows", "Rows waiting.", name, partial(_waiting, slot))
            self._tell("loaded", slot)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots.values())

    def find(self, name: str, version: str | None = None) -> Slot:
        """The slot of `name`. Raises RequestError (404) for another name, or a version that is not the one served."""
        slot = self.slots.get(name)
        if slot is None:
            raise RequestError(404, f"model {name[:64]!r} is not served here.")
        if version not in (None, "", slot.model.version):
            raise RequestError(404, f"model {name!r} is served in version {slot.model.version} only.")
        return slot

    async def refresh(self, slot: Slot, *, force: bool = False) -> bool:
        """Takes the files of `slot` if they changed; whether they were taken. What does not fit is refused and logged,
        and the model of the moment serves on."""
        async with self._swapping:
            seen = await asyncio.to_thread(stamp, slot.path)
            if not force and seen == slot.seen:
                return False
            try:
                fresh = await asyncio.to_thread(open_model, slot.path, slot.choice)
                if not fresh.same_interface(slot.model):
                    raise EngineError(
                        "it takes or gives other tensors than the model served. Serve it under another name."
                    )
            except (ParingError, OSError) as problem:
                self._refuse(slot, seen, " ".join(str(problem).split()))
                return False
            slot.seen, slot.refused = seen, None
            if fresh.version != slot.model.version:
                self.metrics.loaded.remove(slot.name, slot.model.version, str(slot.model.target))
                slot.model = fresh
                self.metrics.swaps.labels(slot.name, "taken").inc()
                self._tell("swapped", slot)
            return True

    def add_shadow(self, name: str, shadow: Shadow) -> None:
        """Lets `shadow` see a share of what `name` answers. Raises EngineError if it takes other tensors."""
        slot = self.slots[name]
        if not shadow.model.same_interface(slot.model):
            raise EngineError(
                f"--shadow: it takes or gives other tensors than {name!r}, so the two cannot be compared."
            )
        slot.shadow = shadow
        slot.queue.observe = shadow.offer
        self.metrics.watch(
            "paring_shadow_agreement", "Share of rows that agree.", name, lambda: shadow.seen().agreement
        )
        self.journal("shadowed", model=name, version=shadow.model.version, fraction=shadow.fraction)

    def add_canary(self, name: str, canary: Canary) -> None:
        """Lets `canary` answer a share of what `name` is asked. Raises EngineError if it takes other tensors."""
        slot = self.slots[name]
        if not canary.model.same_interface(slot.model):
            raise EngineError(f"--canary: it takes or gives other tensors than {name!r}, so it cannot answer for it.")
        slot.canary = canary
        self.metrics.watch(
            "paring_canary_withdrawn", "1 once the canary was taken back.", name, lambda: float(canary.withdrawn)
        )
        self.journal("canary", model=name, version=canary.model.version, fraction=canary.fraction)

    def close(self) -> None:
        """Ends every queue's threads, and says what came of each shadow and canary."""
        for slot in self:
            slot.queue.close()
            if slot.shadow is not None:
                slot.shadow.close()
                self.journal("shadow", model=slot.name, **as_plain(slot.shadow.seen()))
            if slot.canary is not None:
                slot.canary.close()
                self.journal("tried", model=slot.name, **as_plain(slot.canary.seen()))

    def _refuse(self, slot: Slot, seen: tuple[object, ...], reason: str) -> None:
        slot.seen, slot.refused = seen, reason
        self.metrics.swaps.labels(slot.name, "refused").inc()
        self.journal("refused", model=slot.name, version=slot.model.version, reason=reason)

    def _tell(self, event: str, slot: Slot) -> None:
        self.metrics.loaded.labels(slot.name, slot.model.version, str(slot.model.target)).set(1)
        self.journal(event, model=slot.name, version=slot.model.version, target=str(slot.model.target))


def as_plain(seen: Seen | Tried) -> dict[str, Any]:
    """As JSON has it: what is not a finite number becomes null."""
    return {key: _plain(value) for key, value in asdict(seen).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _current(slot: Slot) -> Model:
    return slot.model


def _waiting(slot: Slot) -> float:
    return float(slot.queue.waiting_rows)
