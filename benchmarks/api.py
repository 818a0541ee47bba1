"""How fast the API reads from a large database, beside the least that such a read can cost.

    python -m benchmarks.api [--jobs 1000 1000000] [--seconds 8] [--rounds 3] [--write FILE]

For every size a real Postgres is filled by SQL (50 events a job); the API and a bare Starlette app with the same
query (`benchmarks.api_bare`), one process each, are asked in turn, so that a noisy machine hits both
alike. Reads: a job, a job that has not changed (304), a list of 20 jobs that are over and one of 20 that wait, a page
of events.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request as UrlRequest
from urllib.request import urlopen
from uuid import UUID

from benchmarks.api_database import Filled
from benchmarks.api_load import Load, Measured, Request
from domain.ids import to_public
from tests.servers import free_port, postgres, redis_server

ROOT = Path(__file__).parents[1]
CONNECTIONS = 8
READS = ("job", "job, unchanged", "list", "list of the queue", "events")


@dataclass(frozen=True)
class Pair:
    """One read, of the API and of the bare app: medians over rounds."""

    jobs: int
    read: str
    api: Measured
    bare: Measured

    @property
    def ratio(self) -> float:
        """Of the bare app's rate."""
        return self.api.per_second / self.bare.per_second


def measure(job_count: int, *, seconds: float, rounds: int) -> list[Pair]:
    """All reads at one size of the database."""
    with ExitStack() as stack:
        url = stack.enter_context(postgres(shared_buffers="1GB"))
        objects = stack.enter_context(tempfile.TemporaryDirectory())
        environment = _environment(url, stack.enter_context(redis_server()), objects)
        began = time.monotonic()
        filled = _filled(job_count, environment)
        sys.stderr.write(f"{job_count} jobs: filled in {time.monotonic() - began:.0f} s\n")
        api, bare = free_port(), free_port()
        stack.enter_context(_server(["-m", "api", "--port", str(api)], environment, api))
        bare_words = ["-m", "benchmarks.api_bare", "--port", str(bare)]
        stack.enter_context(_server(bare_words, {"DATABASE_URL": url}, bare))
        asked = _requests(api, filled)
        return [
            _pair(job_count, read, asked[read], (api, bare), seconds=seconds, rounds=rounds)
            for read in READS
        ]


def _environment(database_url: str, redis_url: str, objects: str) -> dict[str, str]:
    return {
        "VADER_DATABASE_URL": database_url,
        "VADER_REDIS_URL": redis_url,
        "VADER_OBJECT_STORE": f"folder://{objects}",
        "VADER_RATE_LIMIT_REQUESTS": "0",
        "VADER_RATE_LIMIT_PROJECT": "0",
    }


def _filled(job_count: int, environment: dict[str, str]) -> Filled:
    """Filled by a process of its own, which ends with its connections."""
    words = [sys.executable, "-m", "benchmarks.api_database", str(job_count)]
    whole = {**os.environ, **environment}  # noqa: TID251 (handed on)
    done = subprocess.run(words, cwd=ROOT, env=whole, check=True, stdout=subprocess.PIPE)
    return Filled(**json.loads(done.stdout))


@contextmanager
def _server(words: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    whole = {**os.environ, **environment}  # noqa: TID251 (handed on)
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=whole)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"a server ended with status {process.returncode}")
        try:
            urlopen(f"http://127.0.0.1:{port}/livez").close()
        except OSError as error:
            if getattr(error, "code", None) == 404:
                return
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("a server did not start")


def _requests(api: int, filled: Filled) -> dict[str, tuple[list[Request], list[Request]]]:
    """For every read what the API is asked, and what the bare app is asked."""
    key, job_ids = {"Authorization": f"Bearer {filled.token}"}, filled.job_ids
    public = [to_public("job", UUID(job_id)) for job_id in job_ids]
    tags = [{**key, "If-None-Match": _tag(api, key, job_id)} for job_id in public[:50]]
    jobs = [Request(f"/v1/jobs/{each}", key, 200) for each in public]
    same = [
        Request(f"/v1/jobs/{each}", tag, 304) for each, tag in zip(public[:50], tags, strict=True)
    ]
    listed = {
        status: [Request(f"/v1/jobs?status={status}&limit=20", key, 200)]
        for status in ("succeeded", "queued")
    }
    pages = [Request(f"/v1/jobs/{each}/events?limit=100", key, 200) for each in public]

    def bare(kind: str, ids: list[str], status: int = 200) -> list[Request]:
        return [Request(f"/{kind}/{filled.project_id}/{each}", {}, status) for each in ids]

    return {
        "job": (jobs, bare("job", job_ids)),
        "job, unchanged": (same, bare("unchanged", job_ids[:50], 304)),
        "list": (listed["succeeded"], bare("list", ["succeeded"])),
        "list of the queue": (listed["queued"], bare("list", ["queued"])),
        "events": (pages, bare("events", job_ids)),
    }


def _tag(port: int, key: dict[str, str], job_id: str) -> str:
    request = UrlRequest(f"http://127.0.0.1:{port}/v1/jobs/{job_id}", headers=key)
    with urlopen(request) as answer:
        return str(answer.headers["ETag"])


def _pair(
    job_count: int,
    read: str,
    asked: tuple[list[Request], list[Request]],
    ports: tuple[int, int],
    *,
    seconds: float,
    rounds: int,
) -> Pair:
    loads = [
        Load(port, requests, CONNECTIONS, seconds)
        for port, requests in zip(ports, asked, strict=True)
    ]
    for load in loads:
        _loaded(Load(load.port, load.requests, load.connections, 1.0))
    found = [[_loaded(load) for load in loads] for _ in range(rounds)]
    api, bare = (_median([both[side] for both in found]) for side in (0, 1))
    pair = Pair(job_count, read, api, bare)
    sys.stderr.write(f"{_row(pair)}\n")
    return pair


def _loaded(load: Load) -> Measured:
    words = [sys.executable, "-m", "benchmarks.api_load"]
    text = json.dumps(asdict(load))
    done = subprocess.run(words, cwd=ROOT, input=text, check=True, capture_output=True, text=True)
    return Measured(**json.loads(done.stdout))


def _median(found: list[Measured]) -> Measured:
    middle = {
        name: statistics.median(getattr(each, name) for each in found)
        for name in ("per_second", "p50_s", "p95_s", "p99_s")
    }
    return Measured(**middle, count=sum(each.count for each in found))


def report(pairs: list[Pair], *, seconds: float, rounds: int) -> str:
    """The page."""
    day = datetime.now(UTC).date().isoformat()
    lines = [
        "# The API's reads",
        "",
        f"{day}, `python -m benchmarks.api`, {os.cpu_count()} cores ({platform.machine()}), one process of each app, "
        f"{CONNECTIONS} connections, {rounds} rounds of {seconds:g} s in turn, medians over rounds; Postgres 18 and "
        "the load run on the same machine. 50 events a job.",
        "",
        "| jobs | read | API per s | p50 ms | p95 ms | p99 ms | bare per s | bare p99 ms | of the bare rate |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_row(pair) for pair in pairs),
        "",
        *_growth(pairs),
    ]
    return "\n".join(lines) + "\n"


def _row(pair: Pair) -> str:
    api, bare = pair.api, pair.bare
    return (
        f"| {pair.jobs:,} | {pair.read} | {api.per_second:.0f} | {1e3 * api.p50_s:.1f} | {1e3 * api.p95_s:.1f} "
        f"| {1e3 * api.p99_s:.1f} | {bare.per_second:.0f} | {1e3 * bare.p99_s:.1f} | {pair.ratio:.2f} |"
    )


def _growth(pairs: list[Pair]) -> list[str]:
    """p99 at the largest size beside p99 at the smallest."""
    sizes = sorted({pair.jobs for pair in pairs})
    if len(sizes) < 2:
        return []
    p99 = {(pair.jobs, pair.read): pair.api.p99_s for pair in pairs}
    grown = [f"{read} {p99[sizes[-1], read] / p99[sizes[0], read]:.2f}" for read in READS]
    return [f"p99 at {sizes[-1]:,} jobs over p99 at {sizes[0]:,}: {', '.join(grown)}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    pairs = [
        pair
        for count in arguments.jobs
        for pair in measure(count, seconds=arguments.seconds, rounds=arguments.rounds)
    ]
    page = report(pairs, seconds=arguments.seconds, rounds=arguments.rounds)
    sys.stdout.write(page)
    if arguments.write is not None:
        arguments.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
