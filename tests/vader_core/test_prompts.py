from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.factories import PROMPTS, document
from vader_core.catalogue import BUILT_IN
from vader_core.faults import InvalidSpec
from vader_core.prompts import contradictions, place, prompt_id, side_key, split
from vader_core.resolve import check
from vader_core.spec import Prompt

TEXTS = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() != "")
FRACTIONS = st.floats(min_value=0.01, max_value=0.99)


def is_heldout(prompt: Prompt, fraction: float) -> bool:
    return split([prompt], fraction) == ([], [prompt])


@given(st.lists(TEXTS, max_size=20), TEXTS, FRACTIONS)
def test_a_prompt_never_changes_sides_when_others_come(
    others: list[str], text: str, fraction: float
) -> None:
    mine = Prompt(prompt=text)
    alone = split([mine], fraction)
    among = split([mine, *(Prompt(prompt=other) for other in others)], fraction)
    assert (mine in alone[0]) == (mine in among[0])
    assert len(among[0]) + len(among[1]) == len(others) + 1


@given(st.lists(TEXTS, min_size=1, max_size=20), FRACTIONS, FRACTIONS)
def test_a_larger_fraction_only_adds_to_the_held_out_side(
    texts: list[str], one: float, other: float
) -> None:
    prompts = [Prompt(prompt=text) for text in texts]
    _, fewer = split(prompts, min(one, other))
    _, more = split(prompts, max(one, other))
    assert all(prompt in more for prompt in fewer)


def test_the_fraction_is_met_on_many_prompts() -> None:
    prompts = [Prompt(prompt=f"prompt {i}") for i in range(2000)]
    assert 0.17 < len(split(prompts, 0.2)[1]) / 2000 < 0.23


def test_a_prompt_may_name_its_side() -> None:
    assert is_heldout(Prompt(prompt="a", heldout=True), 0.01)
    assert not is_heldout(Prompt(prompt="a", heldout=False), 0.99)


@pytest.mark.parametrize("mark", [1, 0, "true", "yes"])
def test_a_side_is_marked_by_true_and_false_alone(mark: object) -> None:
    with pytest.raises(ValidationError):
        Prompt.model_validate({"prompt": "a", "heldout": mark})


@pytest.mark.parametrize(
    "like", ["A Red circle", " a red\tcircle ", "a red  circle", "\uff41 red circle"]
)
def test_prompts_that_say_the_same_are_on_one_side(like: str) -> None:
    assert side_key(Prompt(prompt=like)) == side_key(Prompt(prompt="a red circle"))
    assert prompt_id(Prompt(prompt=like)) != prompt_id(Prompt(prompt="a red circle")) or (
        like.strip() == "a red circle"
    )


@pytest.mark.parametrize("marked", [True, False])
def test_a_mark_counts_for_all_that_say_the_same(marked: bool) -> None:
    prompts = [
        Prompt(prompt="a red circle"),
        Prompt(prompt="a Red  circle", heldout=marked),
        Prompt(prompt="a red circle "),
    ]
    training, heldout = split(prompts, 0.5)
    assert (training, heldout) == (([], prompts) if marked else (prompts, []))


def test_marks_for_both_sides_contradict_each_other() -> None:
    prompts = [
        Prompt(prompt="a red circle", heldout=True),
        Prompt(prompt="a blue circle", heldout=False),
        Prompt(prompt="A red circle", heldout=False),
        Prompt(prompt="a red circle"),
        Prompt(prompt="a red circle", image="a.png", heldout=False),
    ]
    assert contradictions(prompts) == [0, 2]
    assert contradictions(prompts[:2]) == []


def test_a_spec_with_one_prompt_on_both_sides_is_refused() -> None:
    again = {"prompt": f" {PROMPTS[0]['prompt']}", "target": "moving left", "heldout": True}
    with pytest.raises(InvalidSpec) as caught:
        check(document(prompts={"inline": [*PROMPTS, again]}), BUILT_IN, lambda _: None)
    assert {(fault.pointer, fault.code) for fault in caught.value.faults} == {
        (f"/prompts/inline/{i}/heldout", "prompt_on_both_sides") for i in (0, len(PROMPTS))
    }


def test_ids_depend_on_text_and_image_alone() -> None:
    circle = Prompt(prompt="a red circle")
    assert prompt_id(circle) == prompt_id(Prompt(prompt="a red circle ", target="x", heldout=True))
    others = [
        Prompt(prompt="a red square"),
        Prompt(prompt="a red circle", image="a.png"),
        Prompt(prompt="a red circle", image="b.png"),
    ]
    assert len({prompt_id(prompt) for prompt in [circle, *others]}) == 4


def test_ids_and_sides_are_those_of_the_text_in_every_job() -> None:
    """Stored samples and splits of earlier jobs go by them."""
    for text in ("a red circle", " a blue square "):
        digest = hashlib.sha256(text.strip().encode()).digest()
        assert prompt_id(Prompt(prompt=text)) == "p_" + digest.hex()[:10]
        where = int.from_bytes(digest[:8], "big") / 2**64
        assert place(side_key(Prompt(prompt=text))) == where
        assert is_heldout(Prompt(prompt=text), where + 1e-9)
        assert not is_heldout(Prompt(prompt=text), where - 1e-9)


def test_prompts_of_one_text_fall_on_both_sides_by_their_images() -> None:
    prompts = [Prompt(prompt="animate", image=f"{i}.png") for i in range(400)]
    training, heldout = split(prompts, 0.2)
    assert 50 < len(heldout) < 110
    assert len(training) + len(heldout) == 400
