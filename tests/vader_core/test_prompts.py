from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from vader_core.prompts import is_heldout, prompt_id, split
from vader_core.spec import Prompt

TEXTS = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() != "")


@given(st.lists(TEXTS, max_size=20), TEXTS, st.floats(min_value=0.01, max_value=0.99))
def test_a_prompt_never_changes_sides_when_others_come(
    others: list[str], text: str, fraction: float
) -> None:
    mine = Prompt(prompt=text)
    alone = split([mine], fraction)
    among = split([mine, *(Prompt(prompt=other) for other in others)], fraction)
    assert (mine in alone[0]) == (mine in among[0])
    assert len(among[0]) + len(among[1]) == len(others) + 1


def test_the_fraction_is_met_on_many_prompts() -> None:
    prompts = [Prompt(prompt=f"prompt {i}") for i in range(2000)]
    assert 0.17 < sum(is_heldout(p, 0.2) for p in prompts) / 2000 < 0.23


def test_a_prompt_may_name_its_side() -> None:
    assert is_heldout(Prompt(prompt="a", heldout=True), 0.01)
    assert not is_heldout(Prompt(prompt="a", heldout=False), 0.99)


def test_ids_depend_on_text_and_image_alone() -> None:
    circle = Prompt(prompt="a red circle")
    assert prompt_id(circle) == prompt_id(Prompt(prompt="a red circle ", target="x", heldout=True))
    others = [
        Prompt(prompt="a red square"),
        Prompt(prompt="a red circle", image="a.png"),
        Prompt(prompt="a red circle", image="b.png"),
    ]
    assert len({prompt_id(prompt) for prompt in [circle, *others]}) == 4


def test_ids_and_sides_of_prompts_without_images_are_those_of_their_text() -> None:
    """Stored samples and splits of earlier jobs go by them."""
    for text in ("a red circle", " a blue square "):
        digest = hashlib.sha256(text.strip().encode()).digest()
        assert prompt_id(Prompt(prompt=text)) == "p_" + digest.hex()[:10]
        place = int.from_bytes(digest[:8], "big") / 2**64
        assert is_heldout(Prompt(prompt=text), place + 1e-9)
        assert not is_heldout(Prompt(prompt=text), place - 1e-9)


def test_prompts_of_one_text_fall_on_both_sides_by_their_images() -> None:
    prompts = [Prompt(prompt="animate", image=f"{i}.png") for i in range(400)]
    training, heldout = split(prompts, 0.2)
    assert 50 < len(heldout) < 110
    assert len(training) + len(heldout) == 400
