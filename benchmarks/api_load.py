"""Load on one HTTP server: a few connections that ask again as soon as they are answered.

`python -m benchmarks.api_load` reads what to ask as JSON from stdin and prints the latencies: a process of
its own, so that it takes no time from the server's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Request:
    """One GET and the status that it must be answered with."""

    path: str
    headers: dict[str, str]
    status: int


@dataclass(frozen=True)
class Load:
    """`connections` that go through `requests` in turn for `seconds`."""

    port: int
    requests: list[Request]
    connections: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """Answers a second, and the seconds within which half, 95 % and 99 % of them came."""

    per_second: float
    p50_s: float
    p95_s: float
    p99_s: float
    count: int


def parsed(text: str) -> Load:
    """The load that `asdict` made `text` of."""
    asked = json.loads(text)
    return Load(**{**asked, "requests": [Request(**each) for each in asked["requests"]]})


async def run(load: Load) -> Measured:
    """Raises `RuntimeError` for an answer of another status."""
    ends = time.perf_counter() + load.seconds
    began = time.perf_counter()
    each = [_connection(load, number, ends) for number in range(load.connections)]
    taken = sorted(seconds for part in await asyncio.gather(*each) for seconds in part)
    wall_s = time.perf_counter() - began
    return Measured(
        per_second=len(taken) / wall_s,
        p50_s=_quantile(taken, 0.5),
        p95_s=_quantile(taken, 0.95),
        p99_s=_quantile(taken, 0.99),
        count=len(taken),
    )


async def _connection(load: Load, first: int, ends: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
    taken = []
    number = first
    while (began := time.perf_counter()) < ends:
        request = load.requests[number % len(load.requests)]
        number += load.connections
        writer.write(_bytes_of(request))
        status = await _answer(reader)
        taken.append(time.perf_counter() - began)
        if status != request.status:
            raise RuntimeError(f"{request.path} answered {status}, not {request.status}")
    writer.close()
    return taken


def _bytes_of(request: Request) -> bytes:
    lines = [f"GET {request.path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
    if lengths:
        await reader.readexactly(int(lengths[0].split(b":")[1]))
    return int(lines[0].split()[1])


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


if __name__ == "__main__":
    measured = asyncio.run(run(parsed(sys.stdin.read())))
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")
