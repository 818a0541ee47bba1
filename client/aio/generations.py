"""Generations: videos from a prompt, with an adapter or without."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from client.aio.calls import Calls, Listing
from client.aio.downloads import fetch
from client.errors import FileUnusable
from client.models import File, GeneratedFile, Generation
from client.paths import at

_WAIT_S = 30


class GenerationCalls(Calls):
    """Videos made on demand."""

    async def generate(
        self,
        request: Mapping[str, JsonValue],
        *,
        wait_s: int = 0,
        idempotency_key: str | None = None,
    ) -> Generation:
        """Asks for videos; `wait_for_generation` waits for them.

        `request` has a `prompt`, an `adapter` or a `base_model`, and more as the API has it. Raises
        `Invalid` with every fault.
        """
        return await self._post(
            Generation,
            at("/v1/generations"),
            request,
            idempotency_key=idempotency_key,
            wait_s=wait_s,
        )

    def generations(
        self, *, adapter: str | None = None, status: Sequence[str] = ()
    ) -> Listing[Generation]:
        """This project's generations, newest first."""
        wanted = {"adapter": adapter, "status": list(status) or None}
        return self._list(Generation, at("/v1/generations"), wanted)

    async def generation(self, generation_id: str, *, wait_s: int = 0) -> Generation:
        """The generation as it is now, or once it has ended but at most `wait_s` (up to 60) later."""
        return await self._get(Generation, at("/v1/generations/{}", generation_id), wait_s=wait_s)

    async def wait_for_generation(self, generation_id: str) -> Generation:
        """The generation once it has ended, which the service sees to."""
        while not (made := await self.generation(generation_id, wait_s=_WAIT_S)).terminal:
            continue
        return made

    async def cancel_generation(
        self, generation_id: str, *, idempotency_key: str | None = None
    ) -> Generation:
        """Asks for its end."""
        path = at("/v1/generations/{}/cancel", generation_id)
        return await self._post(Generation, path, idempotency_key=idempotency_key)

    async def delete_generation(self, generation_id: str) -> Generation:
        """Removes its files; it can still be read, with `deleted_at`."""
        return await self._delete_kept(Generation, at("/v1/generations/{}", generation_id))

    async def download_generation(self, generation: Generation, *, to: Path) -> list[Path]:
        """Downloads its videos, and the sheet that shows them side by side, into the folder `to`, each
        checked by its sha256. Raises `FileUnusable` where there are no links to them any more."""
        subject = re.sub("[^a-z0-9]+", "-", generation.prompt.lower())[:60].strip("-") or "video"
        name = f"{subject}-{generation.id[-6:]}"
        wanted: list[tuple[str, GeneratedFile]] = [
            (f"{name}-seed{video.seed}-{video.role}.mp4", video) for video in generation.outputs
        ]
        if generation.sheet is not None:
            wanted.append((f"{name}-sheet.png", generation.sheet))
        return [await self._download(path, file, to) for path, file in wanted]

    async def _download(self, path: str, file: GeneratedFile, to: Path) -> Path:
        if file.url is None:
            raise FileUnusable(
                f"The service gives no link to {path}: removed, or a scope is missing."
            )
        described = File(path=path, size_bytes=file.size_bytes, sha256=file.sha256, url=file.url)
        return await fetch(self._transport, described, to=to / path)
