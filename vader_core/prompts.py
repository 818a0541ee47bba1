"""The split of prompts into training and held-out."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

from vader_core.spec import Prompt


def identity(prompt: Prompt) -> str:
    """What makes a prompt the one it is: its text, and the name of its first image where it has one."""
    return _with_image(prompt, prompt.prompt.strip())


def side_key(prompt: Prompt) -> str:
    """What decides the side of a prompt: its text whatever its case, spaces and Unicode form, and its image.

    Prompts of one key say the same to a model, so they are always on one side.
    """
    text = unicodedata.normalize("NFKC", prompt.prompt).casefold()
    return _with_image(prompt, " ".join(text.split()))


def _with_image(prompt: Prompt, text: str) -> str:
    return text if prompt.image is None else f"{text}\0{prompt.image}"


def place(key: str) -> float:
    """Where the hash of a side key lies in [0, 1). Below the held-out fraction is held out.

    It depends on nothing else: a prompt keeps its side when others come or go, in every job and version,
    and a larger fraction only adds to the held-out side.
    """
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def marked_sides(prompts: Iterable[Prompt]) -> dict[str, set[bool]]:
    """The explicit marks (`heldout`) by side key; a key with both of them is a contradiction."""
    marks: dict[str, set[bool]] = {}
    for prompt in prompts:
        if prompt.heldout is not None:
            marks.setdefault(side_key(prompt), set()).add(prompt.heldout)
    return marks


def contradictions(prompts: Sequence[Prompt]) -> list[int]:
    """The indices of marked prompts whose like is marked for the other side."""
    both = {key for key, sides in marked_sides(prompts).items() if len(sides) > 1}
    if not both:
        return []
    return [
        index
        for index, prompt in enumerate(prompts)
        if prompt.heldout is not None and side_key(prompt) in both
    ]


def heldout_marks(prompts: Sequence[Prompt], heldout_fraction: float) -> list[bool]:
    """Whether each prompt is held out: as one of its key says by `heldout`, else by the hash of the key.

    Where marks contradict each other (`contradictions`), it is held out: what is told apart by a mark
    must not be trained on.
    """
    marks = marked_sides(prompts)
    sides = []
    for prompt in prompts:
        key = side_key(prompt)
        marked = marks.get(key)
        sides.append(place(key) < heldout_fraction if marked is None else True in marked)
    return sides


def split(prompts: Sequence[Prompt], heldout_fraction: float) -> tuple[list[Prompt], list[Prompt]]:
    """(training, held-out) prompts, each in the given order."""
    sides = list(zip(prompts, heldout_marks(prompts, heldout_fraction), strict=True))
    return [p for p, heldout in sides if not heldout], [p for p, heldout in sides if heldout]


def prompt_id(prompt: Prompt) -> str:
    """A short stable name of a prompt: "p_" and 10 hex digits of its identity's sha256."""
    return "p_" + hashlib.sha256(identity(prompt).encode()).hexdigest()[:10]
