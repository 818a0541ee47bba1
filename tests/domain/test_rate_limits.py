"""Rate limits: counted here, agreed on by Redis, and still counted when Redis is away or frozen."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import redis

from domain.errors import RateLimited
from domain.rate_limits import WINDOW_S, Policy, RateLimiter

MINUTE = Policy("default", 10)


class Clock:
    """A clock that a test sets; 15 s into a window at first."""

    def __init__(self) -> None:
        self.now = 1_000_000 * WINDOW_S + 15.0

    def __call__(self) -> float:
        return self.now


def in_loop(test: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Runs `test` in an event loop of its own."""

    async def run() -> None:
        await test(*arguments)

    asyncio.run(run())


async def synced(limiter: RateLimiter, *, until: Callable[[], bool]) -> None:
    """Lets the limiter keep in step until something holds."""
    keeping = asyncio.create_task(limiter.keep_in_step())
    try:
        async with asyncio.timeout(10):
            while not until():  # noqa: ASYNC110 (Redis tells nobody)
                await asyncio.sleep(0.01)
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


def test_so_many_requests_a_minute_and_then_none_until_the_next(redis_url: str) -> None:
    async def test() -> None:
        clock = Clock()
        limiter = RateLimiter(redis_url, clock=clock)
        left = [limiter.count(MINUTE, "key") for _ in range(10)]
        assert [standing.remaining for standing in left] == list(range(9, -1, -1))
        assert {standing.resets_in_s for standing in left} == {45}
        with pytest.raises(RateLimited) as refused:
            limiter.count(MINUTE, "key")
        assert (refused.value.retry_after_s, refused.value.extra) == (45, {"policy": "default"})
        assert limiter.count(MINUTE, "another key").remaining == 9
        clock.now += 45
        assert limiter.count(MINUTE, "key").remaining == 9
        await limiter.close()

    in_loop(test)


def test_processes_learn_of_each_others_requests(redis_url: str) -> None:
    async def test() -> None:
        clock = Clock()
        one, two = (RateLimiter(redis_url, clock=clock) for _ in range(2))
        for _ in range(6):
            one.count(MINUTE, "key")
        with redis.Redis.from_url(redis_url) as client:
            await synced(one, until=lambda: bool(client.keys("rate:default:key:*")))
            assert two.count(MINUTE, "key").remaining == 9
            await synced(two, until=lambda: client.get(client.keys()[0]) == b"7")
            assert client.ttl(client.keys()[0]) > WINDOW_S
        assert two.count(MINUTE, "key").remaining == 2
        await asyncio.gather(one.close(), two.close())

    in_loop(test)


def test_an_exact_count_knows_of_all_processes(redis_url: str) -> None:
    async def test() -> None:
        clock = Clock()
        limiters = [RateLimiter(redis_url, clock=clock) for _ in range(2)]
        allowed = 0
        for turn in range(14):
            with suppress(RateLimited):
                await limiters[turn % 2].count_exactly(MINUTE, "key")
                allowed += 1
        assert allowed == MINUTE.quota
        await asyncio.gather(*(limiter.close() for limiter in limiters))

    in_loop(test)


def test_without_redis_a_process_counts_by_itself() -> None:
    async def test() -> None:
        limiter = RateLimiter("redis://127.0.0.1:9/0", clock=Clock())
        for _ in range(10):
            await limiter.count_exactly(MINUTE, "key")
        with pytest.raises(RateLimited):
            await limiter.count_exactly(MINUTE, "key")
        await limiter.close()

    in_loop(test)


def test_a_frozen_redis_is_waited_for_once_and_asked_again_later(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        with redis.Redis.from_url(redis_url) as client:
            process = int(client.info("server")["process_id"])
        clock = Clock()
        limiter = RateLimiter(redis_url, clock=clock)
        await limiter.count_exactly(MINUTE, "key")
        os.kill(process, signal.SIGSTOP)
        try:
            for _ in range(9):
                await limiter.count_exactly(MINUTE, "key")
            assert caplog.messages == ["rate limits count alone: TimeoutError"]
            with pytest.raises(RateLimited):
                limiter.count(MINUTE, "key")
        finally:
            os.kill(process, signal.SIGCONT)
        clock.now += WINDOW_S
        await limiter.count_exactly(MINUTE, "key")
        with redis.Redis.from_url(redis_url) as client:
            newest = f"rate:default:key:{int(clock.now // WINDOW_S)}"
            assert client.get(newest) == b"1"
        await limiter.close()

    in_loop(test)


def test_many_at_once_are_counted_once_each(redis_url: str) -> None:
    async def test() -> None:
        clock, many = Clock(), Policy("create", 40)
        one, two = (RateLimiter(redis_url, clock=clock) for _ in range(2))
        await asyncio.gather(*(one.count_exactly(many, "key") for _ in range(30)))
        with redis.Redis.from_url(redis_url) as client:
            assert client.get(f"rate:create:key:{int(clock.now // WINDOW_S)}") == b"30"
        assert (await two.count_exactly(many, "key")).remaining == 9
        await asyncio.gather(one.close(), two.close())

    in_loop(test)


def test_of_many_at_once_those_that_fit_pass(redis_url: str) -> None:
    async def test() -> None:
        clock = Clock()
        one, two = (RateLimiter(redis_url, clock=clock) for _ in range(2))
        await asyncio.gather(*(one.count_exactly(MINUTE, "key") for _ in range(7)))
        asked = (two.count_exactly(MINUTE, "key") for _ in range(8))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, RateLimited)]
        assert (len(answers), len(refused)) == (8, 5)
        await asyncio.gather(one.close(), two.close())

    in_loop(test)


def test_who_is_over_the_limit_can_be_refused_without_a_count(redis_url: str) -> None:
    async def test() -> None:
        limiter = RateLimiter(redis_url, clock=Clock())
        for _ in range(10):
            limiter.refuse_over(MINUTE, "key")
            limiter.count(MINUTE, "key")
        with pytest.raises(RateLimited):
            limiter.refuse_over(MINUTE, "key")
        await limiter.close()

    in_loop(test)


def test_windows_that_are_over_are_dropped_though_it_never_stops_ringing(redis_url: str) -> None:
    async def test() -> None:
        clock = Clock()
        limiter = RateLimiter(redis_url, clock=clock)
        for number in range(20):
            limiter.count(MINUTE, f"key {number}")
        clock.now += WINDOW_S

        def rung_and_dropped() -> bool:
            limiter._sync_now.set()
            return not limiter._windows

        await synced(limiter, until=rung_and_dropped)
        assert limiter._windows == {}
        await limiter.close()

    in_loop(test)
