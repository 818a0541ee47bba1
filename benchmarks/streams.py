"""A thousand open streams on one process of the API: every event once, in order, and how soon.

    python -m benchmarks.streams [--streams 1000] [--jobs 10] [--events 100] [--rate 2] [--write FILE]

Starts Postgres, Redis and the API, opens the streams (every other one of the whole project, the rest of one job
each), writes events at a steady rate over all jobs, and compares what each stream heard with the table. Fails when
anything was lost, doubled or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.stream_stack import Api, Watched, prepare, running_api
from domain import db, event_feed, events
from tests.servers import postgres, redis_server

KIND = "job.warning"
OPEN_AT_ONCE = 50
QUIET_S = 60.0


@dataclass
class Listener:
    """One open stream: what it is of (None: the project), and what it heard: job, number, seconds after."""

    job_id: str | None
    heard: list[tuple[str, int]] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """What a run showed."""

    streams: int
    events: int
    frames: int
    delays_s: Sequence[float]
    opening_s: float
    writing_s: float
    rss_before: int
    rss_open: int
    rss_after: int
    cpu_s: float
    connections: int


async def measure(api: Api, watched: Watched, *, streams: int, count: int, rate: float) -> Measured:
    """Opens `streams`, writes `count` events at `rate` a second, and waits until all are heard."""
    rss_before, began = api.rss_bytes(), time.monotonic()
    listeners = [
        Listener(None if number % 2 else watched.job_ids[number // 2 % len(watched.job_ids)])
        for number in range(streams)
    ]
    opening = asyncio.Semaphore(OPEN_AT_ONCE)
    opened = [asyncio.Event() for _ in listeners]
    tasks = [
        asyncio.create_task(_listen(api, watched.token, listener, opening, ready))
        for listener, ready in zip(listeners, opened, strict=True)
    ]
    for ready in opened:
        await ready.wait()
    opening_s = time.monotonic() - began
    # So long that all of them wait for the bell.
    await asyncio.sleep(2)
    rss_open, cpu_before = api.rss_bytes(), api.cpu_s()
    began = time.monotonic()
    await asyncio.to_thread(_write, watched, count, rate)
    writing_s = time.monotonic() - began
    expected = await asyncio.to_thread(_in_table, watched)
    await _all_heard(listeners, expected)
    cpu_s, rss_after = api.cpu_s() - cpu_before, api.rss_bytes()
    connections = await asyncio.to_thread(watched.connections)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    compare(listeners, expected)
    return Measured(
        streams=streams,
        events=count,
        frames=sum(len(listener.heard) for listener in listeners),
        delays_s=[delay for listener in listeners for delay in listener.delays_s],
        opening_s=opening_s,
        writing_s=writing_s,
        rss_before=rss_before,
        rss_open=rss_open,
        rss_after=rss_after,
        cpu_s=cpu_s,
        connections=connections,
    )


async def _listen(
    api: Api, token: str, listener: Listener, opening: asyncio.Semaphore, ready: asyncio.Event
) -> None:
    path = "/v1/events" if listener.job_id is None else f"/v1/jobs/{listener.job_id}/events"
    async with opening:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        # HTTP/1.0: the frames come as they are, without chunks around them.
        writer.write(
            f"GET {path}?type={KIND} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.partition(b"\r\n")[0], head
        await reader.readuntil(b"retry: 3000\n")
        ready.set()
    try:
        while True:
            frame = await reader.readuntil(b"\n\n")
            now = time.time()
            event = json.loads(frame.rpartition(b"data: ")[2])
            listener.heard.append((event["job_id"], event["seq"]))
            listener.delays_s.append(now - event["data"]["written_at"])
    finally:
        writer.close()


def _write(watched: Watched, count: int, rate: float) -> None:
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        with db.transaction() as session:
            events.append(
                session,
                job_id=watched.job_uuids[number % len(watched.job_uuids)],
                type=KIND,
                message=f"Event {number}.",
                data={"written_at": time.time()},
            )


def _in_table(watched: Watched) -> list[tuple[str, int]]:
    """All events of the kind in the feed's order."""
    with db.read() as session:
        found = event_feed.after(
            session,
            project_id=watched.project_id,
            place=event_feed.START,
            limit=1_000_000,
            types=[KIND],
        )
    assert not found.held_back
    return [(watched.public[event.job_id], event.seq) for event in found.events]


async def _all_heard(listeners: Sequence[Listener], expected: Sequence[tuple[str, int]]) -> None:
    """Returns when every stream heard as many as it should, or nothing came for long."""
    wanted = sum(len(_of(listener, expected)) for listener in listeners)
    heard, quiet_since = -1, time.monotonic()
    while heard < wanted and time.monotonic() - quiet_since < QUIET_S:
        now = sum(len(listener.heard) for listener in listeners)
        if now != heard:
            heard, quiet_since = now, time.monotonic()
        await asyncio.sleep(0.1)
    # What would be doubled would come now.
    await asyncio.sleep(1)


def _of(listener: Listener, expected: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    if listener.job_id is None:
        return list(expected)
    return [event for event in expected if event[0] == listener.job_id]


def compare(listeners: Sequence[Listener], expected: Sequence[tuple[str, int]]) -> None:
    """Ends the run unless every stream heard what it should, each once and in order."""
    wrong = [listener for listener in listeners if listener.heard != _of(listener, expected)]
    if wrong:
        first = wrong[0]
        missing = set(_of(first, expected)) - set(first.heard)
        raise SystemExit(
            f"{len(wrong)} of {len(listeners)} streams heard something else than the table holds; the first"
            f" of them heard {len(first.heard)} events and missed {len(missing)}."
        )


def report(measured: Measured, *, rate: float, jobs: int) -> str:
    """The page."""
    delays = sorted(measured.delays_s)
    cuts = statistics.quantiles(delays, n=100)
    per_stream = (measured.rss_open - measured.rss_before) / measured.streams
    rows = {
        "open streams, half of the project, half of one job": f"{measured.streams:,}",
        "events written": f"{measured.events:,} over {jobs} jobs, {rate:g} a second",
        "frames delivered": f"{measured.frames:,}, every one once and in order",
        "from the write to the listener: p50": f"{cuts[49] * 1000:.0f} ms",
        "p95": f"{cuts[94] * 1000:.0f} ms",
        "p99": f"{cuts[98] * 1000:.0f} ms",
        "longest": f"{delays[-1] * 1000:.0f} ms",
        "opening all streams": f"{measured.opening_s:.1f} s",
        "resident memory before": f"{measured.rss_before / 2**20:.0f} MiB",
        "with all streams open": f"{measured.rss_open / 2**20:.0f} MiB, {per_stream / 1024:.0f} KiB a stream",
        "at the end": f"{measured.rss_after / 2**20:.0f} MiB",
        "processor time of the API": f"{measured.cpu_s:.1f} s for "
        f"{measured.frames / measured.writing_s:,.0f} frames a second over {measured.writing_s:.0f} s",
        "database connections in all": str(measured.connections),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    machine = (
        f"{os.cpu_count()} CPUs ({platform.machine()}), load {os.getloadavg()[0]:.1f} at the end"
    )
    when = datetime.now(UTC).date().isoformat()
    return f"""# A thousand streams on one process

`python -m benchmarks.streams`, {when}, {machine}, Python {platform.python_version()}.
Listeners, writer, Postgres and the API share the machine; the listeners are one process of Python. The load
average tells how much else the machine was doing: latencies include the wait for a processor.

| | |
|---|---|
{table}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2.0, help="events a second, in all")
    parser.add_argument("--write", type=Path, help="write the page to this file too")
    arguments = parser.parse_args()
    needed = 2 * arguments.streams + 100
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
    with ExitStack() as stack:
        watched = prepare(
            stack.enter_context(postgres()),
            stack.enter_context(redis_server()),
            objects=Path(stack.enter_context(tempfile.TemporaryDirectory())),
            job_count=arguments.jobs,
        )
        api = stack.enter_context(running_api())
        measured = asyncio.run(
            measure(
                api, watched, streams=arguments.streams, count=arguments.events, rate=arguments.rate
            )
        )
        db.dispose()
    page = report(measured, rate=arguments.rate, jobs=arguments.jobs)
    sys.stdout.write(page)
    if arguments.write:
        arguments.write.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
