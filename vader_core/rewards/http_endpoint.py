"""Rewards that a team's own HTTP endpoint gives: videos and prompts go there, scores come back.

The operator's row names the endpoint, so no job can send videos elsewhere; redirects are refused for
the same reason. `options` of the row:

    url                      http(s) address
    format                   "npz": the very pixels, 8 bits (default); "mp4": one H.264 file per video
    fps                      frames per second of the mp4 files (default 8)
    timeout_s                for a whole answer (default 60)
    max_request_megabytes    larger requests are not sent (default 256)
    token_file               file with a token, sent as `Authorization: Bearer`

What is sent and what must come back: docs/own-reward.md. A request must change nothing at the endpoint
but its own answer, so one that was not worked on is sent again: after a refused or reset connection and
after the statuses 429, 502, 503 and 504. A timeout or any other answer is not.

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import CatalogueUnusable, RewardBackendFailed
from vader_core.rewards.http_request import Body, Format, written
from vader_core.spec import Prompt
from vader_core.strict import Strict

# Seconds before the second and the third try; an endpoint may ask for more, up to the limit.
PAUSES_S = (0.5, 2.0)
_LONGEST_PAUSE_S = 30.0
_TRY_AGAIN = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
_MOST_ANSWER_BYTES = 1 << 20
_SHOWN_CHARACTERS = 200


class Endpoint(Strict):
    """The row's options."""

    url: str = Field(pattern=r"^https?://[^/]")
    format: Format = "npz"
    fps: int = Field(default=8, ge=1)
    timeout_s: float = Field(default=60.0, gt=0)
    max_request_megabytes: float = Field(default=256.0, gt=0)
    token_file: Path | None = None


class Answer(BaseModel):
    """What an endpoint answers with: one score per video, in their order."""

    model_config = ConfigDict(allow_inf_nan=False)

    scores: list[float]


class _NotWorkedOn(Exception):
    """The request can be sent again, after at least `pause_s`."""

    def __init__(self, what: str, pause_s: float = 0.0) -> None:
        super().__init__(what)
        self.pause_s = pause_s


class HttpReward:
    """The endpoint's scores; its failures are `RewardBackendFailed`."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row, self._params, self._dtype = row, dict(params), compute.precise_dtype
        try:
            self._endpoint = Endpoint.model_validate(row.options)
            self._headers = _headers(self._endpoint)
        except (OSError, ValidationError) as error:
            raise CatalogueUnusable(
                f"The row {row.id!r} does not describe an HTTP endpoint: {error}",
                hint="`options` needs `url`; docs/own-reward.md names the others.",
            ) from error
        # Neither proxies of the environment nor redirects: only the row says where videos go.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,), without a gradient. Raises `RewardBackendFailed`."""
        told: dict[str, JsonValue] = {
            "reward": f"{self.row.id}@{self.row.version}",
            "params": self._params,
            "videos": [{"prompt": one.prompt, "target": one.target} for one in prompts],
        }
        form, fps = self._endpoint.format, self._endpoint.fps
        body = written(told, frames_BFCHW, form=form, fps=fps)
        limit = self._endpoint.max_request_megabytes
        if len(body.content) > limit * 1e6:
            size = len(body.content) / 1e6
            raise self._failed(f"would get {size:.1f} MB in one request; its row allows {limit:g}")
        scores = self._scores(self._send(body), expected=len(prompts))
        return torch.tensor(scores, dtype=self._dtype, device=frames_BFCHW.device)

    def _send(self, body: Body) -> bytes:
        """The answer to the first try that gets one."""
        for pause_s in PAUSES_S:
            try:
                return self._try(body)
            except _NotWorkedOn as error:
                time.sleep(min(max(pause_s, error.pause_s), _LONGEST_PAUSE_S))
        try:
            return self._try(body)
        except _NotWorkedOn as error:
            raise self._failed(f"{error}, {len(PAUSES_S) + 1} times") from error

    def _try(self, body: Body) -> bytes:
        headers = {**self._headers, "Content-Type": body.media_type}
        request = urllib.request.Request(  # noqa: S310  # the row's pattern allows http(s) alone
            self._endpoint.url, data=body.content, headers=headers
        )
        deadline = time.monotonic() + self._endpoint.timeout_s
        try:
            with self._opener.open(request, timeout=self._endpoint.timeout_s) as response:
                return self._read(response, deadline)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from error
        except TimeoutError as error:
            raise self._late() from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise self._late() from error
            raise _NotWorkedOn(f"cannot be reached: {error.reason}") from error
        except ConnectionError as error:
            raise _NotWorkedOn(f"broke the connection off: {error}") from error
        except (HTTPException, OSError) as error:
            raise self._failed(f"answered with broken HTTP: {error}") from error

    def _read(self, response: HTTPResponse, deadline: float) -> bytes:
        """The body; socket timeouts alone would let a drip of bytes go on for ever."""
        answer = b""
        while part := response.read1(_MOST_ANSWER_BYTES):
            answer += part
            if len(answer) > _MOST_ANSWER_BYTES:
                raise self._failed(f"answered with more than {_MOST_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline:
                raise self._late()
        return answer

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        with error:
            said = error.read(_SHOWN_CHARACTERS).decode("utf-8", "replace")
            what = f"answered {error.code} {error.reason}: {said!r}"
            if error.code in _TRY_AGAIN:
                wished = error.headers.get("Retry-After", "")
                return _NotWorkedOn(what, float(wished) if wished.isdecimal() else 0.0)
            return self._failed(what)

    def _scores(self, answer: bytes, *, expected: int) -> list[float]:
        try:
            scores = Answer.model_validate_json(answer).scores
        except ValidationError as error:
            said = answer[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
            form = json.dumps({"scores": [0.5] * expected})
            raise self._failed(f"answered {said!r} where {form} was expected") from error
        if len(scores) != expected:
            raise self._failed(f"gave {len(scores)} scores for {expected} videos")
        return scores

    def _late(self) -> RewardBackendFailed:
        return self._failed(f"gave no whole answer in {self._endpoint.timeout_s:g} s")

    def _failed(self, what: str) -> RewardBackendFailed:
        host = urllib.parse.urlsplit(self._endpoint.url).netloc.rpartition("@")[2]
        return RewardBackendFailed(
            f"The endpoint {host} of the reward {self.row.id!r} {what}.",
            hint="See to the endpoint, or correct its row in the catalogue.",
        )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect what it is: an answer without scores."""

    def redirect_request(  # the library's signature
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        del req, fp, code, msg, headers, newurl


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "vader"}
    if endpoint.token_file is not None:
        token = endpoint.token_file.read_text(encoding="utf-8").strip()
        headers["Authorization"] = f"Bearer {token}"
    return headers
