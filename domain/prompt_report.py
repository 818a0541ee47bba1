"""What a list of prompts holds, and what of it is likely a mistake: the report of a prompt set's version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

from vader_core.catalogue import BaseModelRow
from vader_core.plan import FEWEST_PROMPTS
from vader_core.prompts import heldout_marks, identity, side_key
from vader_core.spec import Prompt, Prompts
from vader_core.strict import Strict
from vader_core.text_limits import Basis, text_reader

DEFAULT_HELDOUT_FRACTION: float = Prompts.model_fields["heldout_fraction"].default
SHOWN_PLACES = 20


class PromptWarning(Strict):
    """Something that does not stop anybody from using the prompts. The set of codes is open."""

    code: str
    detail: str
    count: int = Field(description="How many prompts (or lines) it is about.")
    pointers: list[str] = Field(
        description="Where the first 20 stand: `/prompts/0`, or `/lines/1` of a body read by lines."
    )


class TextLengths(Strict):
    """How the prompts fit into the text encoder of a base model; what goes beyond `limit` is cut off."""

    base_model: str
    limit: int = Field(description="Tokens, those that frame a text included.")
    basis: Basis = Field(
        description="tokenizer: counted by the base model's own. words: estimated, because its weights "
        "are not here; about four tokens for three words."
    )
    longest: int
    too_long: int


class PromptReport(Strict):
    """What was found in the prompts. The sides are those at the held-out fraction that jobs have by default."""

    prompts: int
    training: int
    heldout: int
    marked: int = Field(description="Prompts that name their side by `heldout`.")
    targets: list[str] = Field(description="All labels that the prompts carry.")
    with_target: int
    with_image: int
    exact_duplicates: int = Field(description="Prompts that repeat an earlier one word for word.")
    alike_duplicates: int = Field(
        description="Prompts that repeat an earlier one but for case, spaces or Unicode form."
    )
    empty_lines: int
    text: TextLengths | None = Field(
        description="Null without `base_model`, and for one that reads no text."
    )
    warnings: list[PromptWarning]


@dataclass(frozen=True)
class Predecessor:
    """The newest version of the same name that was there before."""

    version: int
    prompts: list[Prompt]


@dataclass(frozen=True)
class Read:
    """Prompts as they were read: `pointers` says where each stood; empty lines were left out."""

    prompts: list[Prompt]
    pointers: list[str]
    empty_lines: tuple[str, ...] = ()


def report_of(
    read: Read, *, base_model: BaseModelRow | None, predecessor: Predecessor | None
) -> PromptReport:
    """The report of sound prompts. Loads the base model's tokenizer where its weights are here."""
    prompts = read.prompts
    sides = heldout_marks(prompts, DEFAULT_HELDOUT_FRACTION)
    exact, alike = _repeats(prompts, identity), _repeats(prompts, side_key)
    alike = [index for index in alike if index not in set(exact)]
    text, too_long = _text(read, base_model)
    report = PromptReport(
        prompts=len(prompts),
        training=sides.count(False),
        heldout=sides.count(True),
        marked=sum(prompt.heldout is not None for prompt in prompts),
        targets=sorted({prompt.target for prompt in prompts if prompt.target is not None}),
        with_target=sum(prompt.target is not None for prompt in prompts),
        with_image=sum(prompt.image is not None for prompt in prompts),
        exact_duplicates=len(exact),
        alike_duplicates=len(alike),
        empty_lines=len(read.empty_lines),
        text=text,
        warnings=[],
    )
    found = [
        _warning(
            "exact_duplicates",
            "repeat an earlier prompt word for word: they count twice in training and once in evaluation.",
            read.pointers,
            exact,
        ),
        _warning(
            "alike_duplicates",
            "repeat an earlier prompt but for case, spaces or Unicode form: they stay on its side.",
            read.pointers,
            alike,
        ),
        _warning(
            "empty_lines",
            "hold nothing and were left out.",
            read.empty_lines,
            noun="line",
            every=True,
        ),
        _too_long(text, read, too_long),
        _missing_targets(read),
        *_images(read, base_model),
        *_sides(report),
        *_changes(read, sides, predecessor),
    ]
    return report.model_copy(update={"warnings": [warning for warning in found if warning]})


def _repeats(prompts: Sequence[Prompt], key: Callable[[Prompt], str]) -> list[int]:
    """The indices of prompts whose key an earlier one has."""
    seen: set[str] = set()
    repeats = []
    for index, prompt in enumerate(prompts):
        name = key(prompt)
        if name in seen:
            repeats.append(index)
        seen.add(name)
    return repeats


def _warning(
    code: str,
    what: str,
    pointers: Sequence[str],
    indices: Sequence[int] = (),
    *,
    noun: str = "prompt",
    every: bool = False,
) -> PromptWarning | None:
    places = list(pointers) if every else [pointers[index] for index in indices]
    if not places:
        return None
    many = f"{len(places)} {noun}{'' if len(places) == 1 else 's'}"
    return PromptWarning(
        code=code, detail=f"{many}: {what}", count=len(places), pointers=places[:SHOWN_PLACES]
    )


def _text(read: Read, row: BaseModelRow | None) -> tuple[TextLengths | None, list[int]]:
    """How the prompts fit into the text encoder, and which of them do not."""
    reader = None if row is None else text_reader(row)
    if row is None or reader is None:
        return None, []
    lengths = reader.lengths([prompt.prompt for prompt in read.prompts])
    too_long = [index for index, length in enumerate(lengths) if length > reader.limit]
    found = TextLengths(
        base_model=f"{row.id}@{row.version}",
        limit=reader.limit,
        basis=reader.basis,
        longest=max(lengths, default=0),
        too_long=len(too_long),
    )
    return found, too_long


def _too_long(text: TextLengths | None, read: Read, indices: list[int]) -> PromptWarning | None:
    if text is None:
        return None
    said = "" if text.basis == "tokenizer" else " (estimated by words: its weights are not here)"
    what = f"longer than the {text.limit} tokens that {text.base_model} reads{said}; the rest is cut off."
    return _warning("too_long_for_text_encoder", what, read.pointers, indices)


def _missing_targets(read: Read) -> PromptWarning | None:
    without = [index for index, prompt in enumerate(read.prompts) if prompt.target is None]
    if len(without) == len(read.prompts):
        return None
    what = "no `target`, which others have: rewards that look for one refuse such a set."
    return _warning("missing_targets", what, read.pointers, without)


def _images(read: Read, row: BaseModelRow | None) -> list[PromptWarning | None]:
    if row is None:
        return []
    has = [prompt.image is not None for prompt in read.prompts]
    wrong = [index for index, image in enumerate(has) if image != row.needs_image]
    if row.needs_image:
        what = f"no `image`, from which {row.id} starts: jobs on it refuse this set."
        return [_warning("missing_images", what, read.pointers, wrong)]
    what = f"an `image`, which {row.id} does not take: jobs on it refuse this set."
    return [_warning("needless_images", what, read.pointers, wrong)]


def _sides(report: PromptReport) -> list[PromptWarning]:
    """Sides that are too small for a job by default."""
    at = f"at a `heldout_fraction` of {DEFAULT_HELDOUT_FRACTION:g}"
    advice = "Mark prompts with `heldout`, or choose another fraction for the job."
    found = []
    if report.training == 0:
        found.append(("no_training_prompts", f"No prompt is for training {at}. {advice}"))
    if report.heldout == 0:
        found.append(("no_heldout_prompts", f"No prompt is held out {at}. {advice}"))
    elif report.heldout < FEWEST_PROMPTS:
        said = f"Only {report.heldout} held out {at}: a verdict needs {FEWEST_PROMPTS}. {advice}"
        found.append(("few_heldout_prompts", said))
    return [
        PromptWarning(code=code, detail=detail, count=report.heldout, pointers=[])
        for code, detail in found
    ]


def _changes(
    read: Read, sides: Sequence[bool], predecessor: Predecessor | None
) -> list[PromptWarning | None]:
    """What became of the prompts of the version before."""
    if predecessor is None:
        return []
    if predecessor.prompts == read.prompts:
        same = f"These are the prompts of version {predecessor.version}, in the same order."
        return [PromptWarning(code="unchanged", detail=same, count=len(sides), pointers=[])]
    marks = heldout_marks(predecessor.prompts, DEFAULT_HELDOUT_FRACTION)
    before = dict(zip(map(side_key, predecessor.prompts), marks, strict=True))
    moved = [
        index
        for index, prompt in enumerate(read.prompts)
        if before.get(side_key(prompt), sides[index]) != sides[index]
    ]
    what = (
        f"on the other side in version {predecessor.version}, by their `heldout` marks: "
        "runs on the two versions cannot be compared by them."
    )
    return [_warning("changed_sides", what, read.pointers, moved)]
