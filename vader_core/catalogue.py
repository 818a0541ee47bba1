"""What can be aligned and with what: base models and rewards as data. Free of torch.

The rows are JSON files below `vader_core/rows/`. Operators add rows of their own in one more file
(`Catalogue.load`). Weights come from the places that rows name and from nowhere else.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, model_validator

from vader_core.errors import CatalogueUnusable
from vader_core.strict import Strict

_PACKAGE = Path(__file__).parent
TINY_WEIGHTS = _PACKAGE / "tiny" / "weights"
ROWS = _PACKAGE / "rows"
# Where fetched and converted weights lie unless the caller names another folder.
DEFAULT_WEIGHTS_DIR = Path("weights")


class Weights(Strict):
    """Where a row's weights come from; exactly one of `built_in`, `folder` and `repo`.

    `built_in` is shipped with this package, `folder` is an operator's own. `repo` is a hub id:
    `python -m vader_core fetch` copies it at `revision` (a commit; None pins what the first fetch
    finds) and, where it is published in another format, `converter` rewrites it.
    """

    built_in: str | None = None
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    converter: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Weights:
        if sum(place is not None for place in (self.built_in, self.folder, self.repo)) != 1:
            raise ValueError("give exactly one of `built_in`, `folder` and `repo`")
        if self.repo is None and (self.revision or self.converter):
            raise ValueError("`revision` and `converter` go with `repo`")
        return self

    def place(self, row_id: str, weights_dir: Path) -> Path:
        """The folder that the weights are read from."""
        if self.built_in is not None:
            return TINY_WEIGHTS / self.built_in
        if self.folder is not None:
            return self.folder
        name = row_id if self.converter else (self.repo or "").replace("/", "--")
        return weights_dir / name

    @property
    def pinned_as(self) -> str:
        """How clients are told which weights these are."""
        return "built-in" if self.built_in else self.revision or "unpinned"


class SizeRule(Strict):
    """Legal video sizes: pixels in multiples of `multiple`; frames are `frames_multiple * k + frames_offset`.

    Where `widths` or `heights` are given, they are the legal values instead; where `pairs` (width,
    height) are, a size has to be one of them.
    """

    multiple: int
    min_pixels: int
    max_pixels: int
    frames_multiple: int
    frames_offset: int
    min_frames: int
    max_frames: int
    widths: list[int] = []
    heights: list[int] = []
    pairs: list[tuple[int, int]] = []

    def sides(self, exact: list[int]) -> list[int]:
        """The legal pixels of a side whose exact values may be given."""
        if exact:
            return exact
        legal = range(self.multiple, self.max_pixels + 1, self.multiple)
        return [pixels for pixels in legal if pixels >= self.min_pixels]

    def sides_text(self, exact: list[int]) -> str:
        """The same in words."""
        if exact:
            return f"{', '.join(str(pixels) for pixels in exact)} pixels"
        return f"multiples of {self.multiple} from {self.min_pixels} to {self.max_pixels} pixels"

    def frames(self) -> list[int]:
        """The legal numbers of frames."""
        every = range(self.min_frames, self.max_frames + 1)
        return [n for n in every if (n - self.frames_offset) % self.frames_multiple == 0]

    def frames_text(self) -> str:
        """The same in words."""
        form = f" of the form {self.frames_multiple}k+{self.frames_offset}"
        return f"{self.min_frames} to {self.max_frames} frames" + (
            form if self.frames_multiple > 1 else ""
        )


class VideoDefaults(Strict):
    """The sampler settings used where a spec leaves them out."""

    width: int
    height: int
    num_frames: int
    fps: int
    inference_steps: int
    guidance_scale: float


class Variant(Strict):
    """A few-step or guidance-distilled form of a base model.

    `weights` holds a LoRA in a layout that the pipeline loads; it is merged into the base model, with
    weight `lora_scale`, before training. None keeps the base model's own weights: the row itself is a
    distilled checkpoint. `weight_name` names the file, `second_weight_name` that of the second of two
    experts, `scheduler` changes the scheduler's configuration (`_class_name` replaces it) and `call` the constant arguments of the pipeline's call. `file` and
    `second_file` are filled in when the row is loaded.
    """

    title: str
    licence: str
    weights: Weights | None = None
    weight_name: str | None = None
    second_weight_name: str | None = None
    lora_scale: float = 1.0
    inference_steps: int
    guidance_scale: float
    scheduler: dict[str, JsonValue] = {}
    call: dict[str, JsonValue] = {}
    source: str = ""
    file: Path | None = None
    second_file: Path | None = None

    @property
    def installed(self) -> bool:
        """Whether the LoRA lies where the row says; true where there is none."""
        return all(file is None or file.is_file() for file in (self.file, self.second_file))


class BaseModelRow(Strict):
    """One base model: a diffusers-format folder and what the trainer must know about it.

    `min_steps` is the fewest inference steps that its sampler can take. `revisitable` says whether a denoising
    step can be looked at again by itself, as all methods but reward gradients along the sampler need it: not
    where something besides the video is sampled with it. `family` is the module of `vader_core.families` that describes the pipeline class;
    `pipeline_class` the class itself. `lora_targets` are the module name endings that PEFT matches in
    the denoiser. `call` holds constant keyword arguments of the pipeline's call and `scheduler` changes
    to its scheduler's configuration. `folder` is filled in when the row is loaded.
    """

    id: str
    version: str
    title: str
    family: str
    pipeline_class: str
    weights: Weights
    licence: str
    source: str = ""
    needs_image: bool = False
    min_steps: int = 1
    revisitable: bool = True
    sizes: SizeRule
    defaults: VideoDefaults
    lora_targets: list[str]
    call: dict[str, JsonValue] = {}
    scheduler: dict[str, JsonValue] = {}
    variants: dict[str, Variant] = {}
    folder: Path = Path()

    @property
    def revision(self) -> str:
        """Which weights these are, as clients are told."""
        return self.weights.pinned_as

    @property
    def installed(self) -> bool:
        """Whether the weights lie where the row says."""
        return (self.folder / "model_index.json").is_file()


class Cost(Strict):
    """The size of a reward model and the work of one forward: of a frame, or of a video where `per` is video."""

    parameters_millions: float
    gflops: float | None


# Kinds of rewards that see the video alone, or with it a label or a reference.
_PROMPTLESS_KINDS = frozenset(
    {
        *("action", "clip_head", "diversity", "jpeg_size", "motion", "object_presence"),
        *("object_removal", "reference_distance", "sharpness", "vjepa"),
    }
)


class RewardRow(Strict):
    """One reward. `needs_target` says that every prompt must carry a `target` label; `min_frames` is the
    fewest frames it can score (2 at least where it scores whole videos).

    `targets` lists the labels the model knows (empty: they are known once the model is loaded);
    `range` is the score's smallest and largest value, None where unbounded. Higher is always better.
    `objective` is what training climbs: the score, or its logarithm where the score is a probability,
    whose own gradient vanishes for the very videos that are furthest from it. `needs_reference` says that
    a video is compared with the base model's own of the same prompt and seed, which only evaluations have:
    such a reward can be a guard and nothing else. `options` tell the kind
    what it must know of these weights. `folder` is filled in when the row is loaded.
    """

    id: str
    version: str
    title: str
    kind: str
    differentiable: bool
    per: Literal["frame", "video", "group"]
    range: tuple[float | None, float | None]
    objective: Literal["score", "log_score"] = "score"
    weights: Weights | None = None
    licence: str = ""
    source: str = ""
    of_paper: bool = False
    needs_target: bool = False
    min_frames: int = 1
    needs_reference: bool = False
    targets: list[str] = []
    params_schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }
    options: dict[str, JsonValue] = {}
    cost: Cost | None = None
    folder: Path | None = None

    @property
    def revision(self) -> str:
        """Which weights these are, as clients are told; empty where there are none."""
        return self.weights.pinned_as if self.weights else ""

    @property
    def fewest_frames(self) -> int:
        """How many frames a video must have to be scored; what scores whole videos looks at movement."""
        return max(self.min_frames, 2 if self.per == "video" else 1)

    @property
    def reads_prompt(self) -> bool:
        """Whether the score can depend on the prompt's text; so it may for rewards from outside."""
        return self.kind not in _PROMPTLESS_KINDS

    @model_validator(mode="after")
    def _has_a_logarithm(self) -> RewardRow:
        if self.objective == "log_score" and self.range[0] != 0:
            raise ValueError("`objective` log_score needs a score whose range starts at 0")
        return self

    @property
    def installed(self) -> bool:
        """Whether the weights lie where the row says; true where there are none."""
        return self.folder is None or self.folder.is_dir()


Row = TypeVar("Row", BaseModelRow, RewardRow)


class CatalogueFile(Strict):
    """The operators' file."""

    base_models: list[BaseModelRow] = []
    rewards: list[RewardRow] = []


class Catalogue(Strict):
    """All rows by id, without versions."""

    base_models: dict[str, BaseModelRow]
    rewards: dict[str, RewardRow]

    @staticmethod
    def load(extra: Path | None = None, *, weights_dir: Path = DEFAULT_WEIGHTS_DIR) -> Catalogue:
        """The built-in rows and those of the JSON file `extra` ({"base_models": [...], "rewards": [...]}).

        Raises `CatalogueUnusable` when the file cannot be read, a row of it is malformed, or an id is
        used twice.
        """
        own = _built_in_rows()
        files = [own] if extra is None else [own, _read(extra)]
        base_models = [_placed(row, weights_dir) for file in files for row in file.base_models]
        rewards = [_placed(row, weights_dir) for file in files for row in file.rewards]
        return Catalogue(base_models=_by_id(base_models), rewards=_by_id(rewards))


def _read(path: Path) -> CatalogueFile:
    try:
        return CatalogueFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = "; ".join(
            f"/{'/'.join(str(part) for part in found['loc'])}: {found['msg']}"
            for found in error.errors(include_url=False)
        )
        raise CatalogueUnusable(
            f"The catalogue {path} is malformed: {faults}", hint="Correct these places."
        ) from error
    except OSError as error:
        raise CatalogueUnusable(
            f"The catalogue {path} cannot be read: {error}", hint="Name a readable JSON file."
        ) from error


@functools.cache
def _built_in_rows() -> CatalogueFile:
    """Every row that comes with this package."""
    return CatalogueFile(
        base_models=[
            row for file in _files("base_models") for row in _BASE_MODELS.validate_json(file)
        ],
        rewards=[row for file in _files("rewards") for row in _REWARDS.validate_json(file)],
    )


_BASE_MODELS = TypeAdapter(Annotated[list[BaseModelRow], Field()])
_REWARDS = TypeAdapter(Annotated[list[RewardRow], Field()])


def _files(kind: str) -> Iterator[bytes]:
    """The row files of one kind; the tiny world's come first, so that lists begin with what always runs."""
    paths = sorted((ROWS / kind).glob("*.json"))
    for path in sorted(paths, key=lambda path: path.stem != "tiny"):
        yield path.read_bytes()


def _placed(row: Row, weights_dir: Path) -> Row:
    """`row` with the folders of its weights and of its variants' weights."""
    if row.weights is None:
        return row
    folders: dict[str, object] = {"folder": row.weights.place(row.id, weights_dir)}
    if isinstance(row, BaseModelRow):
        folders["variants"] = {
            name: _placed_variant(variant, f"{row.id}--{name}", weights_dir)
            for name, variant in row.variants.items()
        }
    return row.model_copy(update=folders)


def _placed_variant(variant: Variant, name: str, weights_dir: Path) -> Variant:
    if variant.weights is None:
        return variant
    folder = variant.weights.place(name, weights_dir)
    second = variant.second_weight_name
    return variant.model_copy(
        update={
            "file": folder / (variant.weight_name or ""),
            "second_file": None if second is None else folder / second,
        }
    )


def _by_id(rows: list[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        if found.setdefault(row.id, row) is not row:
            raise CatalogueUnusable(
                f"The catalogue uses the id {row.id!r} twice.", hint="Rename one of the rows."
            )
    return found


def find_row(name: str, rows: Mapping[str, Row]) -> Row | None:
    """The row that `name` ("id" or "id@version") means, or None."""
    row_id, _, version = name.partition("@")
    row = rows.get(row_id)
    return row if row is not None and version in {"", row.version} else None


BUILT_IN = Catalogue.load()
