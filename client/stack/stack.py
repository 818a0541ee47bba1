"""The embedded stack's life: started in order, watched, stopped in the opposite order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import TracebackType

import httpx

from client.stack.errors import StartFailed
from client.stack.folder import DataFolder, read_json, write_private
from client.stack.ports import choose_port
from client.stack.postgres import Postgres
from client.stack.processes import (
    Child,
    Command,
    clear_leftovers,
    remember,
    run_once,
    wait_until,
)
from client.stack.redis import Redis
from client.stack.services import Options, Services
from client.stack.signals import Signals

_USUAL_PORT = 8000
_PROJECT = "default"
_READY_S = 180.0
_RESTARTS = 3
_RESTARTS_WITHIN_S = 300.0
_LOOK_S = 0.5


class Stack:
    """The stack of one data folder, which the caller holds (`client.stack.folder.held`).

    `signals` says when everything should end; `report` takes a line for a
    person to read now and then. Used as a context manager: leaving it stops whatever runs.
    """

    def __init__(
        self, folder: DataFolder, *, signals: Signals, report: Callable[[str], None]
    ) -> None:
        self._folder, self._signals, self._report = folder, signals, report
        self._children: list[Child] = []
        self._restarts: dict[str, list[float]] = {}
        self._postgres, self._redis = Postgres(folder), Redis(folder)

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in reversed(self._children):
            self._report(f"stopping {child.command.name}")
            child.stop(hurry=self._signals.hurry)
        self._postgres.discard_sockets()
        self._folder.processes.unlink(missing_ok=True)

    def start(self, options: Options) -> str:
        """Starts everything and waits until the API is ready. The API's URL.

        Raises `StartFailed`, `PortTaken`, and `StopAsked` when a signal came meanwhile.
        """
        clear_leftovers(self._folder, grace_s=10.0)
        services = Services(self._folder, choose_port(options.port, usual=_USUAL_PORT))
        services.configure(options, database_url=self._postgres.url, redis_url=self._redis.url)
        self._start_servers()
        self._report("bringing the database up to date")
        self._run(services.prepare)
        short = (services.scorer, services.generator)
        watching = (services.sweeper, services.webhooks)
        for command in (services.api, services.worker, *short, *watching):
            self._start(command)
        credentials = read_json(self._folder.credentials) or self._create_key(services)
        self._report("waiting for the API")
        self._wait("api", lambda: _answers(f"{services.url}/readyz"))
        if not _answers(f"{services.url}/v1/me", key=str(credentials.get("api_key"))):
            credentials = self._create_key(services)
        kept = json.dumps({**credentials, "url": services.url}) + "\n"
        write_private(self._folder.credentials, kept)
        return services.url

    def watch(self) -> None:
        """Returns once a signal came; restarts what dies. Raises `StartFailed` when that is in vain."""
        while not self._signals.stop.wait(_LOOK_S):
            for child in list(self._children):
                if child.exit_status is not None:
                    self._restart(child)

    def _start_servers(self) -> None:
        self._report("starting Postgres and Redis")
        self._redis.prepare()
        self._start(self._redis.command)
        self._postgres.prepare(stop=self._signals.stop)
        postgres = self._start(self._postgres.command)
        self._wait("redis", self._redis.is_ready)
        self._wait("postgres", lambda: self._postgres.is_ready(postgres.pid))

    def _start(self, command: Command) -> Child:
        child = Child(command, self._folder.log(command.name))
        self._children.append(child)
        remember(self._folder, self._children)
        return child

    def _restart(self, child: Child) -> None:
        name, now = child.command.name, time.monotonic()
        recent = [at for at in self._restarts.get(name, []) if now - at < _RESTARTS_WITHIN_S]
        ended = f"{name} ended with status {child.exit_status}"
        if len(recent) >= _RESTARTS:
            raise StartFailed(f"{ended}, again, after {_RESTARTS} restarts.", child.log)
        self._restarts[name] = [*recent, now]
        self._report(f"{ended}: restarting it")
        self._signals.stop.wait(len(recent))
        # Its place is kept, so that everything still stops in the right order.
        self._children[self._children.index(child)] = Child(child.command, child.log)
        remember(self._folder, self._children)

    def _run(self, command: Command) -> None:
        run_once(
            command, self._folder.log(command.name), stop=self._signals.stop, within_s=_READY_S
        )

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Waits for `ready()`, and fails at once when a process has ended."""

        def settled() -> bool:
            dead = [child for child in self._children if child.exit_status is not None]
            if dead:
                first = dead[0]
                raise StartFailed(
                    f"{first.command.name} ended with status {first.exit_status}.", first.log
                )
            return ready()

        try:
            wait_until(settled, stop=self._signals.stop, within_s=_READY_S)
        except TimeoutError as error:
            raise StartFailed(
                f"{name} was not ready after {_READY_S:.0f} s.", self._folder.log(name)
            ) from error

    def _create_key(self, services: Services) -> dict[str, object]:
        log, output = self._folder.log("create-key"), self._folder.root / "new_key.json"
        write_private(output, "")
        try:
            command = services.create_key(project=_PROJECT)
            run_once(command, log, stop=self._signals.stop, within_s=_READY_S, output=output)
            created = read_json(output)
        finally:
            output.unlink(missing_ok=True)
        if not isinstance(created.get("api_key"), str):
            raise StartFailed("No API key was made: the command's answer has another shape.", log)
        return created


def _answers(url: str, *, key: str | None = None) -> bool:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        return httpx.get(url, headers=headers, timeout=5.0).is_success
    except httpx.TransportError:
        return False
