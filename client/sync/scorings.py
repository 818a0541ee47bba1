# Generated from client/aio/scorings.py by `python -m tests.sync_client`. Do not edit.
"""Uploads, and rewards tried on videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from client.media import read_media
from client.models import Scoring, Upload
from client.paths import at
from client.sync.basics import offload
from client.sync.calls import Calls, Listing

_WAIT_S = 30


class ScoringCalls(Calls):
    """Uploads and scorings."""

    def upload(self, path: Path, *, name: str | None = None) -> Upload:
        """Uploads an image (PNG, JPEG, WebP) or a video (mp4, WebM), to be named by its `id`.

        The same bytes again are the same upload. Raises `FileUnusable`.
        """
        content, content_type = offload(lambda: read_media(path))
        params = {"name": name or path.name[-200:]}
        return self._post_bytes(
            Upload, at("/v1/uploads"), content, content_type=content_type, params=params
        )

    def uploads(self) -> Listing[Upload]:
        """This project's uploads."""
        return self._list(Upload, at("/v1/uploads"))

    def get_upload(self, upload_id: str) -> Upload:
        """One upload, with a link to its bytes."""
        return self._get(Upload, at("/v1/uploads/{}", upload_id))

    def delete_upload(self, upload_id: str) -> None:
        """Removes an upload. Raises `Conflict` while something needs it."""
        self._delete(at("/v1/uploads/{}", upload_id))

    def score(
        self,
        reward: str,
        videos: Sequence[Mapping[str, JsonValue]],
        *,
        params: Mapping[str, JsonValue] | None = None,
        idempotency_key: str | None = None,
    ) -> Scoring:
        """Asks for the scores of at most 8 videos, each {"upload" or "sample": id, "prompt": text}, with a
        "target" where the reward needs one; `wait_for_scoring` waits for them.

        Raises `Invalid` with every fault of the request.
        """
        body = {"videos": [dict(video) for video in videos], "params": dict(params or {})}
        path = at("/v1/rewards/{}/score", reward)
        return self._post(Scoring, path, body, idempotency_key=idempotency_key)

    def scoring(self, scoring_id: str, *, wait_s: int = 0) -> Scoring:
        """The scoring as it is now, or once it has ended but at most `wait_s` (up to 60) later."""
        return self._get(Scoring, at("/v1/scorings/{}", scoring_id), wait_s=wait_s)

    def wait_for_scoring(self, scoring_id: str) -> Scoring:
        """The scoring once it has ended, which the service sees to."""
        while not (scoring := self.scoring(scoring_id, wait_s=_WAIT_S)).terminal:
            continue
        return scoring
