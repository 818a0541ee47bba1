"""What the service answers with, typed. Fields the client does not know yet are kept as they came."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

Item = TypeVar("Item")
Status = Literal[
    "queued", "starting", "running", "finalizing", "cancelling", "succeeded", "failed", "cancelled"
]
Verdict = Literal["improved", "no_clear_difference", "worse"]


class Answer(BaseModel):
    """What all answers share."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Fault(Answer):
    """One thing that is wrong with a request. `pointer` is an RFC 6901 JSON Pointer into its body."""

    pointer: str = ""
    code: str = ""
    detail: str = ""
    nearest: list[JsonValue] = []


class Problem(Answer):
    """RFC 9457 problem details with this service's extensions."""

    status: int
    title: str = ""
    detail: str = ""
    code: str = ""
    request_id: str | None = None
    retryable: bool = False
    errors: list[Fault] = []
    allowed_actions: list[str] = []


class Page(Answer, Generic[Item]):
    """One page of a list; `next_cursor` asks for the next one."""

    data: list[Item]
    next_cursor: str | None = None
    has_more: bool = False


class Attempt(Answer):
    """One try of one worker at a job."""

    number: int
    hardware: str | None = None
    started_at: datetime | None = None
    last_heartbeat_at: datetime | None = None


class Progress(Answer):
    """How far training is. `fraction` is between 0 and 1; `seconds_per_step` is None before any step."""

    fraction: float = 0.0
    step: int = 0
    steps_total: int | None = None
    seconds_per_step: float | None = None
    eta_at: datetime | None = None


class Ceiling(Answer):
    """One ceiling of a budget and how much of it is used; `limit` None means that there is none."""

    limit: float | None = None
    used: float = 0.0


class Budget(Answer):
    """The ceilings of a job."""

    steps: Ceiling = Ceiling()
    reward_queries: Ceiling = Ceiling()
    gpu_seconds: Ceiling = Ceiling()
    wall_clock_s: Ceiling = Ceiling()
    deadline_at: datetime | None = None
    next_ceiling: str | None = None


class Guard(Answer):
    """A measure that must not fall too far below the base model's; `ok` says whether it held.

    By the rule `ratio` it is compared as a ratio, by the rule `drop` in deviations of the base's videos.
    """

    reward: str
    rule: str = "ratio"
    ratio_to_base: float | None = None
    min_ratio_to_base: float | None = None
    base_deviation: float | None = None
    drop: float | None = None
    max_drop: float | None = None
    base: float | None = None
    adapter: float | None = None
    ok: bool


class PairsNeeded(Answer):
    """How many held-out prompts and pairs would give the interval `half_width`; None where unknown."""

    wanted: str = ""
    half_width: float | None = None
    prompts: int | None = None
    pairs: int | None = None
    unknown_because: str | None = None


class Evaluation(Answer):
    """Held-out scores of base and adapter; `delta` is their mean paired difference.

    With `kind` "base" no adapter was evaluated yet: both scores are the base model's.
    """

    kind: str = ""
    baseline_heldout_reward: float | None = None
    heldout_reward: float | None = None
    delta: float | None = None
    delta_ci95: tuple[float, float] | None = None
    verdict: Verdict | None = None
    adapter_step: int | None = None
    pairs_needed: PairsNeeded | None = None
    guards: list[Guard] = []


class AdapterLink(Answer):
    """The adapter that a job yielded."""

    id: str


class Sheet(Answer):
    """The job's contact sheet, a PNG; `url` needs the API key and leads on to a link."""

    size_bytes: int
    sha256: str
    url: str


class JobError(Answer):
    """Why a job failed and what would help."""

    code: str
    message: str = ""
    hint: str | None = None
    fault: str | None = None
    retryable: bool = False


class QueuePlace(Answer):
    """Where a waiting job stands; 1 is next."""

    position: int | None = None


class Job(Answer):
    """One alignment job."""

    id: str
    name: str = ""
    method: str = ""
    status: Status
    phase: str | None = None
    terminal: bool
    allowed_actions: list[str] = []
    stop_reason: str | None = None
    attempt: Attempt | None = None
    queue: QueuePlace | None = None
    progress: Progress | None = None
    budget: Budget = Budget()
    evaluation: Evaluation | None = None
    adapter: AdapterLink | None = None
    sheet: Sheet | None = None
    error: JobError | None = None
    spec: dict[str, JsonValue] = {}
    labels: dict[str, str] = {}
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    poll_after_s: float | None = None
    links: dict[str, str] = {}


class Event(Answer):
    """One numbered line of a job's history; types not known here may come."""

    job_id: str
    seq: int
    type: str
    level: str = "info"
    at: datetime
    attempt: int | None = None
    step: int | None = None
    message: str = ""
    data: dict[str, JsonValue] = {}

    @property
    def terminal(self) -> bool:
        """Whether nothing comes after this event."""
        return self.type in {"job.succeeded", "job.failed", "job.cancelled"}


class File(Answer):
    """A file to fetch: `url` is valid until `url_expires_at`; `path` is relative to its folder."""

    path: str
    size_bytes: int
    sha256: str
    url: str
    url_expires_at: datetime | None = None


class Sample(Answer):
    """A kept video of a held-out prompt and seed; base and adapter of one `pair` belong together."""

    id: str
    role: Literal["base", "adapter"]
    pair: str
    step: int
    prompt: str
    seed: int
    score: float
    size_bytes: int
    sha256: str
    url: str


class Upload(Answer):
    """An uploaded image or video."""

    id: str
    name: str
    medium: Literal["image", "video"]
    content_type: str
    size_bytes: int
    sha256: str
    created_at: datetime


class Origin(Answer):
    """Where weights come from, and whether the service has them."""

    repo: str | None = None
    revision: str = ""
    licence: str = ""
    installed: bool


class BaseModelInfo(Answer):
    """A base model that jobs may start from; `limits` and `defaults` say what `video` may be."""

    id: str
    name: str
    title: str
    family: str
    needs_image: bool
    weights: Origin
    limits: dict[str, JsonValue]
    defaults: dict[str, JsonValue]
    variants: dict[str, Answer] = {}
    source: str = ""


class RewardInfo(Answer):
    """A reward; all can be guards and be tried. The methods say which they can train on."""

    id: str
    name: str
    title: str
    kind: str
    differentiable: bool
    per: Literal["frame", "video", "group"]
    range: tuple[float | None, float | None]
    needs_target: bool
    targets: list[str] = []
    params_schema: dict[str, JsonValue] = {}
    weights: Origin | None = None
    source: str = ""


class MethodInfo(Answer):
    """A way to train; `settings_schema` is the JSON Schema of a spec's `method`, with defaults."""

    id: str
    title: str
    summary: str
    needs_differentiable_reward: bool
    settings_schema: dict[str, JsonValue]
    paper: str = ""


class Reason(Answer):
    """Why a video has no score."""

    code: str
    message: str = ""


class ScoredVideo(Answer):
    """A video of a scoring; `score` None has a `reason` once the scoring has ended."""

    upload: str | None = None
    sample: str | None = None
    prompt: str
    target: str | None = None
    score: float | None = None
    reason: Reason | None = None


class ScoredReward(Answer):
    """The reward that was tried."""

    name: str
    title: str = ""
    per: Literal["frame", "video", "group"]
    range: tuple[float | None, float | None]


class Scoring(Answer):
    """A reward tried on a few videos; `scores` are those of `videos`, None until it has succeeded."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed"]
    terminal: bool
    reward: ScoredReward
    videos: list[ScoredVideo]
    scores: list[float | None] | None = None
    seconds: float | None = None
    error: JobError | None = None
    created_at: datetime
