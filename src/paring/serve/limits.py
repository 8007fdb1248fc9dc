"""What a server lets in, and how long anything may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from paring.errors import SettingError


@dataclass(frozen=True)
class Limits:
    """Bounds on requests, queues and waiting. All hold for each model alone, save those of the connection.

    `batch_delay_ms` is how long a request may wait for others to share a batch with while the model is idle; 0 batches
    only what came while the model was busy. `timeout_ms` bounds a request from its arrival to its answer.
    """

    max_batch: int = 32  # rows in one call of the model
    batch_delay_ms: float = 0.0
    max_queue: int = 512  # rows waiting, beyond which requests are refused
    timeout_ms: float = 10_000.0
    max_body_bytes: int = 8 << 20  # as sent and after decompression
    max_rows: int = 256  # rows in one request
    max_length: int = 1024  # of every other free dimension
    max_connections: int = 1024
    head_timeout_s: float = 10.0  # for a request's head, and for its body
    max_head_bytes: int = 32 << 10
    drain_s: float = 1.0  # from SIGTERM until the port closes, so that balancers and clients turn away first
    stop_s: float = 30.0  # for the requests under way after that

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name in ("batch_delay_ms", "drain_s") else 1 if isinstance(field.default, int) else 1e-3
            if value < lowest:
                raise SettingError(f"serve: {field.name} is {value}; it must be at least {lowest}.")
        if self.max_queue < self.max_rows:
            raise SettingError(
                f"serve: max_queue is {self.max_queue} and max_rows {self.max_rows}: the largest request would never "
                "fit the queue. Lower max_rows or raise max_queue."
            )
