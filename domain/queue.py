"""The doorbell: a Celery message that tells some worker to look for a waiting job. Nothing rests on it.

The row in Postgres is the job; a lost, late or doubled message changes nothing, because a worker claims
what waits and the sweeper rings again. So messages are acknowledged early, there is no result backend,
and every socket has a time-out: Redis must never hold up a request or a worker.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from functools import cache
from queue import Full, Queue
from uuid import UUID

import redis
from celery import Celery

from domain.errors import Unavailable
from domain.settings import get_settings

logger = logging.getLogger(__name__)

TASK = "worker.wake"
QUEUE = "train"
SCORE_TASK = "worker.score"
SCORE_QUEUE = "score"
GENERATE_TASK = "worker.generate"
GENERATE_QUEUE = "generate"
_PING_S = 2
_BELLS = 1000
_RINGERS = 2
_LAST_CALL_S = 10


@cache
def app() -> Celery:
    """The Celery app of producers and workers alike."""
    settings = get_settings()
    made = Celery(
        "vader", broker=_broker_url(settings.redis_url.get_secret_value()), set_as_current=False
    )
    made.conf.update(
        # Redelivery is the lease's work. On Redis a late ack restores the message of a *running*
        # task whenever the broker's connection is reset.
        task_acks_late=False,
        task_ignore_result=True,
        result_backend=None,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_concurrency=1,
        worker_max_tasks_per_child=1,
        worker_soft_shutdown_timeout=0,
        worker_enable_remote_control=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_acquire_timeout=10,
        broker_transport_options={
            "visibility_timeout": 3600,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
            # In kombu every 10 x 10 s; a message of a dead worker comes back after about 10 s.
            "unacked_restore_throttle": 1,
        },
        task_publish_retry_policy={
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
    )
    return made


def ring(job_id: UUID | None = None) -> None:
    """Tells a worker to look, because of `job_id` or for anything that waits.

    Returns at once and never raises: threads of its own send the message, and one that cannot be sent
    is logged and left to the sweeper.
    """
    _ring(TASK, QUEUE, job_id)


def ring_worker(worker: str) -> None:
    """As `ring`, for one worker alone."""
    _ring(TASK, own_queue(worker), None)


def own_queue(worker: str) -> str:
    """The queue that no worker but this one listens to."""
    return f"{QUEUE}.{worker}"


def ring_scorer(scoring_id: UUID | None = None) -> None:
    """As `ring`, for the workers that try rewards on videos."""
    _ring(SCORE_TASK, SCORE_QUEUE, scoring_id)


def ring_generator(generation_id: UUID | None = None) -> None:
    """As `ring`, for the workers that make videos on demand."""
    _ring(GENERATE_TASK, GENERATE_QUEUE, generation_id)


def _ring(task: str, queue: str, row_id: UUID | None) -> None:
    about = "" if row_id is None else str(row_id)
    bell = Bell(app(), task, queue, about, get_settings().hint_age_s)
    try:
        _waiting().put_nowait(bell)
    except Full:
        logger.warning("the doorbell is jammed; the sweeper will ring for %s", about)


def ping() -> None:
    """Raises `Unavailable` when Redis does not answer within 2 seconds."""
    url = get_settings().redis_url.get_secret_value()
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_PING_S, socket_connect_timeout=_PING_S
        ) as client:
            client.ping()
    except redis.RedisError as error:
        raise Unavailable("The queue cannot be reached now.") from error


def forget() -> None:
    """Sends what waits, closes the connections and forgets the app: the next use reads the settings again.

    Waits at most 10 seconds for Redis to take the rest.
    """
    give_up_at = time.monotonic() + _LAST_CALL_S
    while _waiting().unfinished_tasks and time.monotonic() < give_up_at:
        time.sleep(0.01)
    if app.cache_info().currsize:
        app().close()
    app.cache_clear()


@dataclass(frozen=True)
class Bell:
    """A message to send; after `expires_s` no worker needs it, because the sweeper sent another."""

    app: Celery
    task: str
    queue: str
    about: str
    expires_s: float

    def send(self) -> None:
        self.app.send_task(self.task, args=[self.about], queue=self.queue, expires=self.expires_s)


@cache
def _waiting() -> Queue[Bell]:
    """What waits to be sent. The threads that send it are daemons, so that they hold up no exit."""
    waiting: Queue[Bell] = Queue(maxsize=_BELLS)
    for number in range(_RINGERS):
        threading.Thread(
            target=_send_for_ever, args=(waiting,), name=f"doorbell-{number}", daemon=True
        ).start()
    return waiting


def _send_for_ever(waiting: Queue[Bell]) -> None:
    while True:
        bell = waiting.get()
        try:
            bell.send()
        # Whatever it is, the thread must live on.
        except Exception as error:
            logger.warning("could not ring for %s: %s", bell.about, type(error).__name__)
        finally:
            waiting.task_done()


def _broker_url(redis_url: str) -> str:
    """kombu's name for a Redis behind a Unix socket differs from redis-py's."""
    return redis_url.replace("unix://", "redis+socket://", 1)
