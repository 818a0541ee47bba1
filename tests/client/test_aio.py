"""The asynchronous client: that what it shares with the synchronous one works on an event loop."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from client import AsyncVaderClient
from client.models import File
from tests.client.scripted_server import Reply, json_reply, serving, stream_reply
from tests.client.shapes import JOB_ID, event_body, job_body


def test_a_post_is_retried_with_the_same_idempotency_key() -> None:
    async def created(url: str) -> str:
        async with AsyncVaderClient(url, "key") as vader:
            return (await vader.create_job({"base_model": "tiny-unet"})).id

    with serving(Reply(503), json_reply(job_body(), status=202)) as script:
        assert asyncio.run(created(script.url)) == JOB_ID
    assert len({asked.headers["Idempotency-Key"] for asked in script.asked}) == 1


def test_a_broken_stream_goes_on_with_no_event_missing_or_twice() -> None:
    async def seen(url: str) -> list[int]:
        async with AsyncVaderClient(url, "key") as vader:
            return [event.seq async for event in vader.events(JOB_ID)]

    first, second = (event_body(n, "metric") for n in (1, 2))
    replies = (
        stream_reply([first], cut=True),
        stream_reply([first, second, event_body(3, "succeeded")]),
    )
    with serving(*replies) as script:
        assert asyncio.run(seen(script.url)) == [1, 2, 3]
    assert script.asked[1].headers["Last-Event-ID"] == "1"


def test_a_list_goes_through_all_of_its_pages() -> None:
    async def listed(url: str) -> list[str]:
        async with AsyncVaderClient(url, "key") as vader:
            return [job.name async for job in vader.jobs()]

    pages = (
        {"data": [job_body(name="one")], "next_cursor": "next", "has_more": True},
        {"data": [job_body(name="two")], "next_cursor": None, "has_more": False},
    )
    with serving(*(json_reply(page) for page in pages)) as script:
        assert asyncio.run(listed(script.url)) == ["one", "two"]


def test_downloads_run_beside_each_other_and_go_on_where_they_broke_off(tmp_path: Path) -> None:
    body = b"weights" * 1000
    sha256 = hashlib.sha256(body).hexdigest()

    async def fetched(url: str) -> None:
        async with AsyncVaderClient(url, "key") as vader:
            link = f"{url}/x"
            file = File(path="x", size_bytes=len(body), sha256=sha256, url=link)
            await asyncio.gather(
                vader.download(file, to=tmp_path / "one"), vader.download(file, to=tmp_path / "two")
            )

    rest = Reply(206, body[700:])
    with serving(Reply(200, body[:700], cut=True), Reply(200, body), rest) as script:
        asyncio.run(fetched(script.url))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == body
