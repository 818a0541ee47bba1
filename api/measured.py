"""What Prometheus reads of this process and of the service: numbers only, nothing of any project."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from domain import db, service_numbers
from domain.errors import Unavailable
from domain.service_numbers import ServiceNumbers, Waiting

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KEPT_S = 5.0
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """The numbers of one application. `open_streams` says how many streams are open now."""

    def __init__(self, *, open_streams: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "vader_http_requests",
            "Requests answered by this process, by the first part of the route below /v1.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "vader_http_request_seconds",
            "Seconds from a request until its answer began.",
            ["route", "method"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        # To look a series up by its labels takes longer than to count.
        self._series = lru_cache(maxsize=2000)(self._series_of)
        streams = Gauge(
            "vader_open_streams", "Event streams open in this process.", registry=self._registry
        )
        streams.set_function(open_streams)
        self._registry.register(_Service())

    def count(self, scope: Scope, *, status: int, seconds: float) -> None:
        """Counts a request that was answered; `scope` is what the router made of it."""
        path = getattr(scope.get("route"), "path", None)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        requests, its_seconds = self._series(path, method, status)
        requests.inc()
        its_seconds.observe(seconds)

    def _series_of(self, path: str | None, method: str, status: int) -> tuple[Counter, Histogram]:
        route = route_class(path)
        return (
            self._requests.labels(route, method, str(status)),
            self._seconds.labels(route, method),
        )

    def text(self) -> bytes:
        """All of it in Prometheus' text format. What the database knows is at most 5 s old."""
        return generate_latest(self._registry)


def route_class(path: str | None) -> str:
    """`jobs` for /v1/jobs/{job_id}/events: few values, whatever clients ask for. None: no route."""
    if path is None:
        return "unknown"
    parts = [part for part in path.split("/") if part]
    return next((part for part in parts if part != "v1"), "unknown")


class _Service(Collector):
    """The service's numbers, read from the database once in a while however often somebody asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._known: ServiceNumbers | None = None

    def describe(self) -> Iterable[Metric]:
        # Without it the registry would collect, and so ask the database, when it is put together.
        return []

    def collect(self) -> Iterable[Metric]:
        numbers = self._numbers()
        up = "Whether the database answered."
        yield GaugeMetricFamily("vader_database_up", up, value=float(numbers is not None))
        if numbers is not None:
            yield from _families(numbers)

    def _numbers(self) -> ServiceNumbers | None:
        with self._lock:
            if time.monotonic() - self._read_at >= KEPT_S:
                self._known = _read()
                self._read_at = time.monotonic()
            return self._known


def _read() -> ServiceNumbers | None:
    try:
        with db.read() as session:
            return service_numbers.read(session)
    except Unavailable:
        return None


def _families(numbers: ServiceNumbers) -> Iterable[Metric]:
    by_kind: list[tuple[str, str, dict[str, float]]] = [
        (
            "vader_queue_depth",
            "Work that waits for a worker.",
            {kind: waiting.count for kind, waiting in numbers.queued.items()},
        ),
        (
            "vader_queue_oldest_seconds",
            "Seconds for which the oldest of it has waited.",
            {kind: waiting.oldest_s for kind, waiting in numbers.queued.items()},
        ),
        ("vader_leases_held", "Attempts that hold a lease.", dict(numbers.leases)),
        ("vader_workers_alive", "Workers seen within the time of a lease.", dict(numbers.workers)),
    ]
    yield _family("vader_jobs", "Jobs by status.", "status", dict(numbers.jobs))
    for name, text, values in by_kind:
        yield _family(name, text, "kind", values)
    yield from _webhooks(numbers.webhooks)


def _webhooks(due: Waiting) -> Iterable[Metric]:
    name = "vader_webhook_backlog"
    yield GaugeMetricFamily(name, "Webhook deliveries that are due.", value=due.count)
    oldest = "Seconds for which the oldest of them has been due."
    yield GaugeMetricFamily(f"{name}_oldest_seconds", oldest, value=due.oldest_s)


def _family(name: str, text: str, label: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for which, value in values.items():
        family.add_metric([which], value)
    return family
