"""The Python client: one method for each thing that the REST API offers, with typed results."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from client.download import fetch, fetch_all
from client.errors import NoAdapter, UnexpectedAnswer
from client.events import follow
from client.media import read_media
from client.models import (
    Answer,
    BaseModelInfo,
    Event,
    File,
    Job,
    MethodInfo,
    Page,
    RewardInfo,
    Sample,
    Scoring,
    Sheet,
    Upload,
)
from client.transport import Transport

Model = TypeVar("Model", bound=BaseModel)
# Below the time-out of a request.
_WAIT_S = 20


class VaderClient:
    """A connection to one service with one API key. Not to be shared between threads.

    Every method raises `client.errors.VaderError`; requests are retried for a few seconds when the
    service does not answer.
    """

    def __init__(self, url: str, api_key: str, *, timeout_s: float = 30.0) -> None:
        self._transport = Transport(url, api_key, timeout_s=timeout_s)

    def __enter__(self) -> VaderClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._transport.url

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def create_job(
        self, spec: Mapping[str, JsonValue], *, idempotency_key: str | None = None
    ) -> Job:
        """Creates a job from `spec`. The same `idempotency_key` again gives the same job again.

        Raises `Invalid` with every fault of the spec; then nothing was created.
        """
        return self._act(Job, "/v1/jobs", dict(spec), idempotency_key)

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        return self._get(Job, f"/v1/jobs/{job_id}")

    def jobs(
        self,
        *,
        status: Sequence[str] = (),
        method: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Page[Job]:
        """One page of this project's jobs, newest first."""
        params = {f"label.{name}": value for name, value in (labels or {}).items()}
        params |= {"limit": str(limit)}
        optional = {"method": method, "cursor": cursor}
        params |= {name: value for name, value in optional.items() if value is not None}
        wanted: dict[str, Any] = {**params, "status": list(status)}
        return self._get(Page[Job], "/v1/jobs", params=wanted)

    def cancel_job(
        self, job_id: str, *, keep_adapter: bool = True, idempotency_key: str | None = None
    ) -> Job:
        """Asks for the end of a job; the adapter of its last step is kept unless `keep_adapter` is false."""
        path, body = f"/v1/jobs/{job_id}/cancel", {"keep_adapter": keep_adapter}
        return self._act(Job, path, body, idempotency_key)

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Event]:
        """The job's events from number `after` + 1 on, as they happen, to the terminal one.

        Goes on where it was when the connection breaks. Raises `Unreachable` when the service stays
        away for minutes.
        """
        return follow(
            self._transport, job_id, after=after, is_over=lambda: self.job(job_id).terminal
        )

    def samples(self, job_id: str) -> list[Sample]:
        """The kept videos of the held-out prompts, in pairs of base and adapter."""
        return self._get(Page[Sample], f"/v1/jobs/{job_id}/samples").data

    def base_models(self) -> list[BaseModelInfo]:
        """The base models a job may start from, with their legal sizes."""
        return self._get(Page[BaseModelInfo], "/v1/base-models").data

    def base_model(self, name: str) -> BaseModelInfo:
        """One base model by id or id@version."""
        return self._get(BaseModelInfo, f"/v1/base-models/{name}")

    def rewards(self) -> list[RewardInfo]:
        """The rewards a job may use."""
        return self._get(Page[RewardInfo], "/v1/rewards").data

    def reward(self, name: str) -> RewardInfo:
        """One reward by id or id@version."""
        return self._get(RewardInfo, f"/v1/rewards/{name}")

    def methods(self) -> list[MethodInfo]:
        """The ways to train."""
        return self._get(Page[MethodInfo], "/v1/methods").data

    def method(self, name: str) -> MethodInfo:
        """One way to train, by the name that a spec's `method.type` has for it."""
        return self._get(MethodInfo, f"/v1/methods/{name}")

    def upload(self, path: Path, *, name: str | None = None) -> Upload:
        """Uploads an image (PNG, JPEG, WebP) or a video (mp4, WebM), to be named by its `id`.

        The same bytes again are the same upload. Raises `FileUnusable`.
        """
        content, content_type = read_media(path)
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": content_type}
        answer = self._transport.request(
            "POST",
            "/v1/uploads",
            content=content,
            params={"name": name or path.name[-200:]},
            headers=headers,
        )
        return _parsed(Upload, answer, "/v1/uploads")

    def uploads(self, *, limit: int = 20, cursor: str | None = None) -> Page[Upload]:
        """One page of this project's uploads, newest first."""
        params = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
        return self._get(Page[Upload], "/v1/uploads", params=params)

    def delete_upload(self, upload_id: str) -> None:
        """Removes an upload. Raises `Conflict` while something needs it."""
        self._transport.request("DELETE", f"/v1/uploads/{upload_id}")

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
        return self._act(Scoring, f"/v1/rewards/{reward}/score", body, idempotency_key)

    def scoring(self, scoring_id: str, *, wait_s: int = 0) -> Scoring:
        """The scoring as it is now, or once it has ended but at most `wait_s` (up to 60) later."""
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        return self._get(Scoring, f"/v1/scorings/{scoring_id}", headers=headers)

    def wait_for_scoring(self, scoring_id: str) -> Scoring:
        """The scoring once it has ended, which the service sees to."""
        while not (scoring := self.scoring(scoring_id, wait_s=_WAIT_S)).terminal:
            continue
        return scoring

    def me(self) -> Answer:
        """Whose key this is and what it may do."""
        return self._get(Answer, "/v1/me")

    def adapter_files(self, adapter_id: str) -> list[File]:
        """The files of an adapter with links that are valid for some minutes."""
        return self._get(Page[File], f"/v1/adapters/{adapter_id}/files").data

    def download_adapter(self, adapter_or_job_id: str, *, to: Path) -> list[Path]:
        """Downloads every file of an adapter into the folder `to`, each checked by its sha256.

        Files that are there already and right are left alone. Raises `DownloadCorrupt` for a file that
        does not match, and `NoAdapter` for a job that has none.
        """
        adapter_id = adapter_or_job_id
        if adapter_or_job_id.startswith("job_"):
            job = self.job(adapter_or_job_id)
            if job.adapter is None:
                raise NoAdapter(f"Job {job.id} is {job.status} and has no adapter.")
            adapter_id = job.adapter.id
        return fetch_all(self.adapter_files(adapter_id), to=to, base_url=self.url)

    def download(self, file: File, *, to: Path) -> Path:
        """Downloads one file to the path `to`, checked by its sha256."""
        return fetch(file, to=to, base_url=self.url)

    def download_sheet(self, sheet: Sheet, *, to: Path) -> Path:
        """Downloads a job's contact sheet to the path `to`, checked by its sha256."""
        link = self._transport.location(sheet.url)
        file = File(path=to.name, size_bytes=sheet.size_bytes, sha256=sheet.sha256, url=link)
        return fetch(file, to=to, base_url=self.url)

    def _act(
        self, model: type[Model], path: str, body: Mapping[str, Any], idempotency_key: str | None
    ) -> Model:
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        answer = self._transport.request("POST", path, json=body, headers=headers)
        return _parsed(model, answer, path)

    def _get(
        self,
        model: type[Model],
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Model:
        answer = self._transport.request("GET", path, params=params, headers=headers)
        return _parsed(model, answer, path)


def _parsed(model: type[Model], answer: object, path: str) -> Model:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise UnexpectedAnswer(f"The answer of {path} has another shape: {error}") from error
