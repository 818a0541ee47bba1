"""Asks a real server whatever its OpenAPI document allows and forbids, by schemathesis.

    python -m tests.openapi.fuzzing [--requests 20000] [--seed 1] [--seconds 60]

A run with all checks and all phases (examples, coverage, fuzzing, stateful) is repeated with the next seed until
so many requests were answered. The exit status says whether any answer was a 500 or outside the document.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import end_with_parent, free_port, postgres, redis_server

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
_START_S = 60


@dataclass(frozen=True)
class Target:
    """A server of its own with a project's key; `log` is what it says."""

    url: str
    token: str
    log: Path

    def answered(self) -> int:
        """How many requests it has answered."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("api.access")

    def failed(self) -> list[str]:
        """The lines of its log that tell of a fault of its own."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if " ERROR " in line]


@contextmanager
def target() -> Iterator[Target]:
    """A server with one project and its first job, on an empty database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz")))
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("VADER_") and name != "PYTEST_CURRENT_TEST"
        } | {
            "VADER_DATABASE_URL": stack.enter_context(postgres()),
            "VADER_REDIS_URL": stack.enter_context(redis_server()),
            "VADER_OBJECT_STORE": f"folder://{folder / 'objects'}",
            "VADER_RATE_LIMIT_REQUESTS": "0",
            "VADER_RATE_LIMIT_CREATES": "0",
            "VADER_RATE_LIMIT_PROJECT": "0",
            "VADER_RATE_LIMIT_PROJECT_CREATES": "0",
            "VADER_RATE_LIMIT_LOGINS": "0",
            "VADER_RATE_LIMIT_LOGINS_EMAIL": "0",
            "VADER_RATE_LIMIT_LOGINS_ADDRESS": "0",
            "VADER_RATE_LIMIT_FAILURES": "0",
        }
        _admin(environment, "prepare")
        token = _admin(environment, "create-key", "--project", "fuzz", "--name", "fuzz", "--json")
        port, log = free_port(), folder / "api.log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [sys.executable, "-m", "api", "--port", str(port)],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent,
            )
        stack.callback(_end, server)
        found = Target(f"http://127.0.0.1:{port}", token, log)
        _wait_for(found, server)
        yield found


def _admin(environment: dict[str, str], *words: str) -> str:
    """What an operator's command gives: for create-key, the key."""
    command = [sys.executable, "-m", "domain.admin", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    found = httpx.Response(200, content=done.stdout.splitlines()[-1] if done.stdout else b"{}")
    return str(found.json().get("api_key", ""))


def _wait_for(found: Target, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + _START_S
    while time.monotonic() < give_up_at and server.poll() is None:
        try:
            if httpx.get(f"{found.url}/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(found.log.read_text())


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(timeout=30)


def ask(found: Target, *, seed: int, max_examples: int, seconds: int | None = None) -> int:
    """One run of all phases and checks; the exit status of schemathesis, whose report goes to stdout."""
    words = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
        *(f"{found.url}/openapi.json", "--checks", "all", "--seed", str(seed)),
        *("--header", f"Authorization: Bearer {found.token}"),
        *("--max-examples", str(max_examples), "--request-timeout", "30"),
        # It finds the id of the key that it is let in by, and would end it.
        *("--exclude-operation-id", "revoke_api_key"),
        *("--generation-database", "none", "--no-shrink", "--suppress-health-check", "all"),
        *([] if seconds is None else ["--max-time", str(seconds)]),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.openapi.schemathesis_hooks"}
    done = subprocess.run(words, cwd=ROOT, env=environment, check=False, preexec_fn=end_with_parent)
    return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-examples", type=int, default=40)
    arguments = parser.parse_args()
    seed, bad = arguments.seed, 0
    with target() as found:
        while (answered := found.answered()) < arguments.requests:
            sys.stdout.write(f"{answered} requests so far; seed {seed}\n")
            sys.stdout.flush()
            bad |= ask(found, seed=seed, max_examples=arguments.max_examples)
            seed += 1
        failed = found.failed()
        sys.stdout.write("\n".join(failed[:20]) + f"\n{found.answered()} requests answered\n")
    return int(bool(bad or failed))


if __name__ == "__main__":
    sys.exit(main())
