"""The service's configuration: the only reader of the environment.

Every field is read from `VADER_<NAME>` or from the file that `VADER_ENV_FILE` names; units stand in the
names. A name that is no setting is an error, and what is only fit for development refuses to start
in production. All faults are told at once, without the values, which may be secret.
"""

from __future__ import annotations

import difflib
import os
import sys
from decimal import Decimal
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "VADER_"
DEVELOPMENT_SECRET_KEY = "for-development-only-not-a-secret"  # noqa: S105
# Names with the prefix that are not the service's settings: where the file is, what marks a trainer
# process, and what the `vader` command reads.
_NOT_SETTINGS = frozenset(
    {
        "VADER_ENV_FILE",
        "VADER_JOB_ID",
        "VADER_ATTEMPT",
        "VADER_URL",
        "VADER_API_KEY",
        "VADER_DATA_DIR",
    }
)


class SettingsInvalid(Exception):
    """The configuration has faults; the message has a line for each."""


class StorePlace(NamedTuple):
    """Where objects are kept: a folder, or a bucket with a key prefix ("" or ending in "/")."""

    kind: Literal["folder", "s3"]
    folder: Path
    bucket: str
    prefix: str


class _EveryVariable(EnvSettingsSource):
    """Hands over unknown VADER_ variables too, so that they are refused."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        for name, value in self.env_vars.items():
            field = name.upper().removeprefix(PREFIX).lower()
            known = field in Settings.model_fields or name.upper() in _NOT_SETTINGS
            if name.upper().startswith(PREFIX) and not known:
                values[field] = value
        return values


class Settings(BaseSettings):
    """See the module. Secrets are shown as asterisks; `get_secret_value()` gives them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    environment: Literal["development", "production"] = "development"
    commit: str = Field(default="", pattern=r"^([0-9a-f]{7,64})?$")
    """The git commit that this was built from, told by the build; empty: not known."""
    database_url: SecretStr
    """postgresql://user:password@host/name; sockets by ?host=/folder"""
    redis_url: SecretStr
    """redis://, rediss:// or unix:///path/to/socket"""
    object_store: str
    """folder:///absolute/path or s3://bucket/prefix"""
    s3_endpoint_url: str | None = None
    s3_public_endpoint_url: str | None = None
    """The host in signed links, where clients reach the S3 server by another name than the service."""
    s3_region: str = "us-east-1"
    secret_key: SecretStr = SecretStr(DEVELOPMENT_SECRET_KEY)
    """Seeds the pepper of API keys and the signature of links, and seals the secrets of webhooks: changing
    it makes all of them invalid."""
    public_url: str = "http://127.0.0.1:8000"
    work_dir: Path = Path("work")
    """Where workers keep the folders of running jobs."""
    catalogue_file: Path | None = None
    """Base models and rewards beside the built-in ones."""
    weights_dir: Path = Path("weights")
    """Fetched weights. The API looks here too, to refuse jobs whose weights are missing."""
    lease_s: float = Field(default=60, gt=0)
    heartbeat_s: float = Field(default=10, gt=0)
    self_fence_s: float = Field(default=40, gt=0)
    reconcile_s: float = Field(default=15, gt=0)
    hint_age_s: float = Field(default=60, gt=0)
    cancel_grace_s: float = Field(default=8, gt=0)
    drain_grace_s: float = Field(default=90, gt=0)
    """How long a trainer has to write its checkpoint when the worker is asked to stop."""
    pause_grace_s: float = Field(default=600, gt=0)
    """How long a trainer may take to finish its step and write its checkpoint when its job is paused."""
    hang_min_s: float = Field(default=600, gt=0)
    """No step for this long, or 20 median steps if that is longer: the attempt hangs."""
    upload_retry_s: float = Field(default=600, gt=0)
    canary_every_s: float = Field(default=60, gt=0)
    """How often the sweeper rings every worker alone, to see whether it hears."""
    deaf_after_s: float = Field(default=180, gt=0)
    """An idle worker that heard none of those bells for so long ends, to be started again."""
    ceiling_grace_s: float = Field(default=300, gt=0)
    """How long after a ceiling the trainer may take for its final evaluation."""
    trainer_command: list[str] = [sys.executable, "-m", "vader_core"]
    max_attempts: int = Field(default=3, ge=1)
    retry_backoff_s: float = Field(default=10, ge=0)
    """How long a job waits after its first failed attempt; doubled with every further one."""
    paused_keep_s: float = Field(default=7 * 24 * 3600, gt=0)
    """A job that is paused for longer is ended with what it has reached."""
    garbage_after_s: float = Field(default=3600, ge=0)
    """How long after its end the leftovers of an attempt stay in the object store."""
    no_gpu_wait_s: float = Field(default=24 * 3600, gt=0)
    """How long a job without `max_queue_s` waits for a GPU that is larger than any that is there."""
    gpu_second_price: Decimal = Field(default=Decimal(0), ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    trainer_threads: int | None = Field(default=None, ge=1)
    device: str = "auto"
    score_limit_s: float = Field(default=600, gt=0)
    """How long a reward may take over the videos that it is tried on."""
    score_device: str = "cpu"
    """Not the trainer's: a reward that is tried must not take a GPU's memory from a training."""
    score_threads: int = Field(default=2, ge=1)
    quota_running_jobs: int | None = Field(default=None, ge=0)
    """Quotas of projects that have none of their own; None: no limit."""
    quota_queued_jobs: int | None = Field(default=1000, ge=0)
    quota_gpu_seconds_a_month: int | None = Field(default=None, ge=0)
    quota_storage_bytes: int | None = Field(default=None, ge=0)
    quota_generations_a_month: int | None = Field(default=None, ge=0)
    quota_templates: int | None = Field(default=1000, ge=0)
    quota_template_versions: int | None = Field(default=10_000, ge=0)
    rate_limit_requests: int = Field(default=600, ge=0)
    """Requests a minute of one API key or session; 0: no limit. The next seven alike."""
    rate_limit_creates: int = Field(default=120, ge=0)
    """POSTs a minute of one API key or session."""
    rate_limit_project: int = Field(default=3000, ge=0)
    """Requests a minute of all keys and sessions of one project."""
    rate_limit_project_creates: int = Field(default=600, ge=0)
    """POSTs a minute of all of them."""
    rate_limit_logins: int = Field(default=10, ge=0)
    """Attempts a minute to sign in with one email from one address."""
    rate_limit_logins_email: int = Field(default=100, ge=0)
    """The same from all addresses."""
    rate_limit_logins_address: int = Field(default=60, ge=0)
    """Attempts a minute to sign in or to accept an invitation, from one address."""
    rate_limit_failures: int = Field(default=60, ge=0)
    """Keys and sessions that do not hold, a minute, from one address."""
    streams: int = Field(default=2000, ge=1)
    """Live streams that one process of the API keeps open at once."""
    streams_of_project: int = Field(default=500, ge=1)
    """Of these, for one project."""
    trusted_proxies: str = ""
    """Addresses or networks of proxies, comma separated: from them alone X-Forwarded-For is believed."""
    session_days: int = Field(default=7, ge=1, le=90)
    """How long a member stays signed in."""
    invitation_days: int = Field(default=7, ge=1, le=90)
    generate_limit_s: float = Field(default=1800, gt=0)
    """How long one generation may take, with everything it loads and all of its videos."""
    generate_device: str = "cpu"
    """Not the trainer's: a demo must not take a GPU's memory from a training. With a GPU of their own
    generators get `cuda`."""
    generate_threads: int = Field(default=2, ge=1)
    generation_keep_days: int = Field(default=30, ge=1)
    """For how long the videos of a generation are kept."""
    link_ttl_s: int = Field(default=900, ge=1, le=7 * 24 * 3600)
    idempotency_keep_days: int = Field(default=7, ge=7)
    webhook_allow_private: bool = False
    """For development: webhooks may go by http, to any port, and to addresses that are not public."""
    webhook_keep_days: int = Field(default=30, ge=7)
    """How long deliveries are kept, ended or not."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _EveryVariable(settings_cls), dotenv_settings, file_secret_settings

    @property
    def store_place(self) -> StorePlace:
        """`object_store`, taken apart."""
        parts = urlsplit(self.object_store)
        if parts.scheme == "folder":
            return StorePlace("folder", Path(parts.path), "", "")
        prefix = parts.path.strip("/")
        return StorePlace("s3", Path(), parts.netloc, f"{prefix}/" if prefix else "")

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        faults = [*_unsound(self), *(_unsafe(self) if self.environment == "production" else [])]
        if faults:
            raise ValueError("\n".join(faults))
        return self


def _unsound(settings: Settings) -> list[str]:
    store = urlsplit(settings.object_store)
    good_folder = store.scheme == "folder" and not store.netloc and len(store.path) > 1
    good_bucket = store.scheme == "s3" and bool(store.netloc)
    database = settings.database_url.get_secret_value()
    redis = settings.redis_url.get_secret_value()
    rules = {
        "VADER_OBJECT_STORE: give folder:///absolute/path or s3://bucket/prefix": good_folder
        or good_bucket,
        "VADER_DATABASE_URL: must start with postgresql:// or postgresql+psycopg://": urlsplit(
            database
        ).scheme
        in {"postgresql", "postgresql+psycopg"},
        "VADER_REDIS_URL: must start with redis://, rediss:// or unix://": urlsplit(redis).scheme
        in {"redis", "rediss", "unix"},
        "VADER_PUBLIC_URL: must be an http or https address": urlsplit(settings.public_url).scheme
        in {"http", "https"},
        "VADER_TRUSTED_PROXIES: give addresses or networks, comma separated": all(
            _is_network(each) for each in settings.trusted_proxies.split(",") if each.strip()
        ),
        "VADER_HEARTBEAT_S must be below VADER_SELF_FENCE_S, and that below VADER_LEASE_S: a worker "
        "must stop its training before the lease can be given away": settings.heartbeat_s
        < settings.self_fence_s
        < settings.lease_s,
    }
    return [fault for fault, holds in rules.items() if not holds]


def _is_network(text: str) -> bool:
    try:
        ip_network(text.strip())
    except ValueError:
        return False
    return True


def _unsafe(settings: Settings) -> list[str]:
    secret = settings.secret_key.get_secret_value()
    redis = urlsplit(settings.redis_url.get_secret_value())
    rules = {
        "VADER_SECRET_KEY: production needs one of its own": secret != DEVELOPMENT_SECRET_KEY,
        "VADER_SECRET_KEY: production needs at least 32 characters": len(secret) >= 32,
        "VADER_PUBLIC_URL: production needs https": urlsplit(settings.public_url).scheme == "https",
        "VADER_WORK_DIR: production needs an absolute path": settings.work_dir.is_absolute(),
        "VADER_WEBHOOK_ALLOW_PRIVATE: is not for production": not settings.webhook_allow_private,
        "VADER_REDIS_URL: production needs a password": redis.scheme == "unix"
        or bool(redis.password),
    }
    return [fault for fault, holds in rules.items() if not holds]


@cache
def get_settings() -> Settings:
    """The settings, read once. Raises `SettingsInvalid` with every fault."""
    try:
        return Settings(_env_file=os.environ.get("VADER_ENV_FILE"))  # type: ignore[call-arg]  # noqa: TID251
    except ValidationError as error:
        raise SettingsInvalid("\n".join(_lines(error))) from None


_TRAINER_INHERITS = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
)
_TRAINER_INHERITS_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "TORCH_", "PYTORCH_")


def trainer_environment() -> dict[str, str]:
    """The variables a trainer process inherits: what compute needs and no credentials at all.

    `HF_HUB_OFFLINE` keeps its libraries from the network.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251
        if name in _TRAINER_INHERITS or name.startswith(_TRAINER_INHERITS_PREFIXES)
    }
    return {**inherited, "HF_HUB_OFFLINE": "1"}


def _lines(error: ValidationError) -> list[str]:
    lines: list[str] = []
    for fault in error.errors(include_input=False, include_url=False):
        # A name from the file keeps its prefix where no field has it.
        field = "_".join(str(part) for part in fault["loc"]).upper().removeprefix(PREFIX)
        name = PREFIX + field
        if not fault["loc"]:
            lines.append(fault["msg"].removeprefix("Value error, "))
        elif fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(field.lower(), Settings.model_fields, n=1)
            hint = f" Did you mean {PREFIX}{near[0].upper()}?" if near else ""
            lines.append(f"{name}: there is no such setting.{hint}")
        else:
            lines.append(f"{name}: {fault['msg']}")
    return lines
