"""The service's own processes as command lines: what `vader up` starts, and with which settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.stack.folder import DataFolder, secret_key, write_settings
from client.stack.ports import HOST
from client.stack.processes import Command

# The folder that holds the service's packages: a checkout, or where they are installed.
_PACKAGES = Path(__file__).resolve().parents[2]
_DRAIN_S = 20.0
# Variables of a user's environment that would point the service elsewhere than at this stack.
_OWNED = (
    *("VADER_ENVIRONMENT", "VADER_DATABASE_URL", "VADER_REDIS_URL", "VADER_OBJECT_STORE"),
    *("VADER_SECRET_KEY", "VADER_PUBLIC_URL", "VADER_WORK_DIR", "VADER_WEIGHTS_DIR"),
    *("VADER_DRAIN_GRACE_S", "VADER_WEBHOOK_ALLOW_PRIVATE"),
    *("VADER_CATALOGUE_FILE", "VADER_TRAINER_THREADS"),
)


@dataclass(frozen=True)
class Options:
    """What a user may choose. None leaves it to the service.

    `catalogue` is a file with more base models and rewards, `weights` the folder of fetched weights
    (default: weights); `trainer_threads` bounds a trainer's threads.
    """

    port: int | None = None
    catalogue: Path | None = None
    weights: Path | None = None
    trainer_threads: int | None = None


@dataclass(frozen=True)
class Services:
    """The processes of the service for one data folder, reachable at `url`."""

    folder: DataFolder
    port: int

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://{HOST}:{self.port}"

    def configure(self, options: Options, *, database_url: str, redis_url: str) -> None:
        """Writes the settings that all processes read."""
        settings = {
            "VADER_ENVIRONMENT": "development",
            "VADER_DATABASE_URL": database_url,
            "VADER_REDIS_URL": redis_url,
            "VADER_OBJECT_STORE": f"folder://{self.folder.objects}",
            "VADER_SECRET_KEY": secret_key(self.folder),
            "VADER_PUBLIC_URL": self.url,
            "VADER_WORK_DIR": str(self.folder.work),
            "VADER_WEIGHTS_DIR": str((options.weights or Path("weights")).resolve()),
            "VADER_DRAIN_GRACE_S": str(_DRAIN_S),
            # Receivers under development are on this machine too.
            "VADER_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        if options.catalogue is not None:
            settings["VADER_CATALOGUE_FILE"] = str(options.catalogue.resolve())
        if options.trainer_threads is not None:
            settings["VADER_TRAINER_THREADS"] = str(options.trainer_threads)
        write_settings(self.folder, settings)

    @property
    def prepare(self) -> Command:
        """Brings the database up to date."""
        return self._python("migrate", "-m", "domain.admin", "prepare")

    def create_key(self, *, project: str) -> Command:
        """Makes an API key, and the project when it is not there; prints them as one JSON line."""
        words = ("--project", project, "--name", "vader up", "--json")
        return self._python("create-key", "-m", "domain.admin", "create-key", *words)

    @property
    def api(self) -> Command:
        """The REST API."""
        return self._python("api", "-m", "api", "--host", HOST, "--port", str(self.port))

    @property
    def worker(self) -> Command:
        """The worker, which runs one job at a time."""
        # There are no fellow workers to look for, which would take a second.
        alone = ("--without-mingle", "--without-gossip")
        words = ("worker", "-Q", "train", "-c", "1", "-l", "INFO", *alone)
        # A trainer that is asked to stop may take the drain time to write its checkpoint.
        return self._python(
            "worker", "-m", "celery", "-A", "worker.app", *words, stop_s=_DRAIN_S + 10.0
        )

    @property
    def scorer(self) -> Command:
        """The worker that tries rewards on videos, beside the one that trains."""
        return self._short("scorer", app="worker.scoring_app", queue="score")

    @property
    def generator(self) -> Command:
        """The worker that makes videos on demand, beside the one that trains."""
        return self._short("generator", app="worker.generation_app", queue="generate")

    @property
    def sweeper(self) -> Command:
        """The process that requeues lost jobs and rings again."""
        return self._python("sweeper", "-m", "worker.sweeper")

    @property
    def webhooks(self) -> Command:
        """The process that sends webhooks."""
        return self._python("webhooks", "-m", "worker.webhooks", stop_s=15.0)

    def _short(self, name: str, *, app: str, queue: str) -> Command:
        """A worker of short tasks."""
        alone = ("--without-mingle", "--without-gossip", "-n", f"{name}@%h")
        words = ("worker", "-Q", queue, "-c", "1", "-l", "INFO", *alone)
        return self._python(name, "-m", "celery", "-A", app, *words, stop_s=_DRAIN_S + 10.0)

    def _python(self, name: str, *words: str, stop_s: float = 10.0) -> Command:
        # The settings travel in a file, so that no secret shows in a list of processes.
        cleaned = [word for owned in _OWNED for word in ("-u", owned)]
        environment = ["/usr/bin/env", *cleaned, f"VADER_ENV_FILE={self.folder.settings}"]
        line: Sequence[str] = [*environment, sys.executable, *words]
        return Command(name=name, words=line, stop_s=stop_s, cwd=_PACKAGES)
