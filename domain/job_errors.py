"""Why an attempt or a job failed, as it is stored and told."""

from __future__ import annotations

from typing import Literal

from vader_core.strict import Strict


class JobError(Strict):
    """Why an attempt or a job failed. The domain fills in `attempt` and `last_checkpoint`."""

    code: str
    message: str
    hint: str = ""
    fault: Literal["user", "platform"] = "platform"
    retryable: bool = True
    step: int = 0
    attempt: int = 0
    last_checkpoint: str | None = None
