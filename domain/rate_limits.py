"""Rate limits: how many requests a minute somebody may make, counted over all processes of the API.

Requests are counted in this process and added to Redis once a second, or sooner when a tenth of the
limit is waiting to be added: no request waits for Redis. So with P processes somebody can make at most
(P - 1) / 10 of the limit more than it says, and what arrives while one message is under way. What
must hold exactly, `count_exactly`, asks Redis first. Without Redis every process counts by itself.
Windows are fixed minutes of the clock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.errors import RateLimited

logger = logging.getLogger(__name__)

WINDOW_S = 60
SYNC_S = 1.0
ANSWER_WITHIN_S = 0.25
ASK_AGAIN_AFTER_S = 5.0
_SHARE_TO_SYNC = 10


@dataclass(frozen=True)
class Policy:
    """`quota` requests in every window of a minute; 0: no limit."""

    name: str
    quota: int


@dataclass(frozen=True)
class Standing:
    """What is left of a policy: `remaining` requests until a new window begins in `resets_in_s`."""

    policy: Policy
    remaining: int
    resets_in_s: int


@dataclass(slots=True)
class _Window:
    """Requests of one subject in one window: `others` in other processes as last heard, `counted` here,
    `added` of these in Redis. One message at a time is under way, so that nothing is added twice."""

    number: int
    others: int = 0
    counted: int = 0
    added: int = 0
    adding: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def used(self) -> int:
        return self.others + self.counted

    @property
    def pending(self) -> int:
        return self.counted - self.added


class RateLimiter:
    """The counters of one process. To be used from the event loop's thread only."""

    def __init__(self, redis_url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            redis_url,
            socket_timeout=ANSWER_WITHIN_S,
            socket_connect_timeout=ANSWER_WITHIN_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}
        self._sync_now = asyncio.Event()
        self._ask_again_at = 0.0
        self._newest = 0

    def refuse_over(self, policy: Policy, who: str) -> None:
        """Raises `RateLimited` where `count` would, and counts nothing."""
        if self._window(policy, who).used >= policy.quota:
            raise self._refusal(policy)

    def count(self, policy: Policy, who: str) -> Standing:
        """Counts one request of `who`. Raises `RateLimited`; such requests are not counted."""
        self.refuse_over(policy, who)
        window = self._window(policy, who)
        window.counted += 1
        if window.pending * _SHARE_TO_SYNC >= policy.quota:
            self._sync_now.set()
        return self._standing(policy, window)

    async def count_exactly(self, policy: Policy, who: str) -> Standing:
        """As `count`, with what other processes have counted until now. Waits for Redis 0.25 s at most."""
        self.count(policy, who)
        window = self._window(policy, who)
        own = window.counted
        await self._add(policy.name, who, window, upto=own)
        if window.others + own > policy.quota:
            raise self._refusal(policy)
        return self._standing(policy, window)

    async def keep_in_step(self) -> None:
        """Adds what was counted here to Redis, again and again. Runs until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_S):
                    await self._sync_now.wait()
            self._sync_now.clear()
            self._drop_old_windows()
            if self._clock() < self._ask_again_at:
                await asyncio.sleep(SYNC_S)
                continue
            waiting = [(*name, window) for name, window in self._windows.items() if window.pending]
            added = (
                self._add(policy, who, window, upto=window.counted)
                for policy, who, window in waiting
            )
            await asyncio.gather(*added)

    async def close(self) -> None:
        """Closes the connections to Redis."""
        await self._redis.aclose()

    async def _add(self, policy: str, who: str, window: _Window, *, upto: int) -> None:
        """Adds what was counted here, at least the first `upto` requests, unless Redis is away."""
        async with window.adding:
            # Another message may have taken these along, or have found that Redis does not answer.
            if window.added < upto and self._clock() >= self._ask_again_at:
                await self._tell(f"rate:{policy}:{who}:{window.number}", window)

    async def _tell(self, name: str, window: _Window) -> None:
        counted = window.counted
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.incrby(name, counted - window.added)
                pipe.expire(name, 2 * WINDOW_S)
                total, _ = await pipe.execute()
        except (RedisError, OSError) as error:
            if self._clock() >= self._ask_again_at:
                logger.warning("rate limits count alone: %s", type(error).__name__)
            self._ask_again_at = self._clock() + ASK_AGAIN_AFTER_S
            return
        window.added = counted
        # Less than was heard before: Redis has lost its memory.
        window.others = max(window.others, int(total) - counted)

    def _window(self, policy: Policy, who: str) -> _Window:
        number = int(self._clock() // WINDOW_S)
        window = self._windows.get((policy.name, who))
        if window is None or window.number != number:
            window = self._windows[(policy.name, who)] = _Window(number)
        return window

    def _drop_old_windows(self) -> None:
        number = int(self._clock() // WINDOW_S)
        if number == self._newest:
            return
        self._newest = number
        over = [name for name, window in self._windows.items() if window.number < number]
        for name in over:
            del self._windows[name]

    def _standing(self, policy: Policy, window: _Window) -> Standing:
        return Standing(policy, max(policy.quota - window.used, 0), self._resets_in_s())

    def _refusal(self, policy: Policy) -> RateLimited:
        seconds = self._resets_in_s()
        detail = f"{policy.quota} requests a minute are allowed; go on in {seconds} s."
        return RateLimited(detail, policy=policy.name, retry_after_s=seconds)

    def _resets_in_s(self) -> int:
        return max(math.ceil(WINDOW_S - self._clock() % WINDOW_S), 1)
