"""Counts and times for Prometheus, in a registry of the server's own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What is counted. Everything is labelled by model; `requests` by status too."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self.requests = self._counter("paring_requests_total", "Requests answered, by HTTP status.", "model", "status")
        self.seconds = self._histogram("paring_request_seconds", "From arrival to answer.", SECONDS)
        self.waited = self._histogram("paring_queue_seconds", "Wait for the model, of answered requests.", SECONDS)
        self.ran = self._histogram("paring_model_seconds", "One call of the model.", SECONDS)
        self.batch = self._histogram("paring_batch_rows", "Rows in one call of the model.", ROWS)
        self.swaps = self._counter("paring_swaps_total", "Files swapped in (taken) or refused.", "model", "result")
        self.loaded = Gauge(
            "paring_model_info", "The version served now.", ["model", "version", "target"], registry=self.registry
        )

    def watch(self, name: str, help_text: str, model: str, value: Callable[[], float]) -> None:
        """A gauge that is read when somebody looks."""
        gauge = self._gauges.get(name) or Gauge(name, help_text, ["model"], registry=self.registry)
        self._gauges[name] = gauge
        gauge.labels(model).set_function(value)

    def page(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, ["model"], buckets=buckets, registry=self.registry)
