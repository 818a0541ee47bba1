"""The split of prompts into training and held-out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from vader_core.spec import Prompt


def identity(prompt: Prompt) -> str:
    """What makes a prompt the one it is: its text, and the name of its first image where it has one."""
    text = prompt.prompt.strip()
    return text if prompt.image is None else f"{text}\0{prompt.image}"


def is_heldout(prompt: Prompt, heldout_fraction: float) -> bool:
    """Whether `prompt` is held out: as it says itself, else by a hash of its identity.

    The hash depends on nothing else, so a prompt never changes sides when others come or go.
    """
    if prompt.heldout is not None:
        return prompt.heldout
    digest = hashlib.sha256(identity(prompt).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < heldout_fraction


def split(prompts: Sequence[Prompt], heldout_fraction: float) -> tuple[list[Prompt], list[Prompt]]:
    """(training, held-out) prompts, each in the given order."""
    training = [p for p in prompts if not is_heldout(p, heldout_fraction)]
    heldout = [p for p in prompts if is_heldout(p, heldout_fraction)]
    return training, heldout


def prompt_id(prompt: Prompt) -> str:
    """A short stable name of a prompt: "p_" and 10 hex digits of its identity's sha256."""
    return "p_" + hashlib.sha256(identity(prompt).encode()).hexdigest()[:10]
