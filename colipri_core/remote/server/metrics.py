"""What a Prometheus server reads of this one; names of routes, jobs and outcomes only."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client import Counter
from prometheus_client import Gauge
from prometheus_client import Histogram
from prometheus_client import Info
from prometheus_client import PlatformCollector
from prometheus_client import ProcessCollector
from prometheus_client import generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counters of one application, in a registry of its own.

    Args:
        version: Version of the package.
        model: Name of the model.
    """

    def __init__(self, *, version: str, model: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Info("colipri", "What is served.", registry=self.registry).info({"version": version, "model": model})
        self._requests = Counter(
            "colipri_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "colipri_request_seconds",
            "Time to the last byte.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._sent = Counter("colipri_sent_bytes", "Bytes of answers.", registry=self.registry)
        self._received = Counter("colipri_received_bytes", "Bytes of requests.", registry=self.registry)
        self._jobs = Counter("colipri_jobs", "Jobs that ended.", ("kind", "outcome"), registry=self.registry)
        self._job_seconds = Histogram(
            "colipri_job_seconds",
            "Time from the request of a job to its end.",
            ("kind",),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a number that is read whenever metrics are asked for."""
        Gauge(f"colipri_{name}", text, registry=self.registry).set_function(value)

    def request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def traffic(self, *, received: int, sent: int) -> None:
        """Count bytes of bodies."""
        self._received.inc(received)
        self._sent.inc(sent)

    def job(self, *, kind: str, outcome: str, seconds: float) -> None:
        """Count a job that ended as "done", "cancelled", "refused" or "failed"."""
        self._jobs.labels(kind, outcome).inc()
        self._job_seconds.labels(kind).observe(seconds)

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self.registry)
