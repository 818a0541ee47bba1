from __future__ import annotations

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


def test_ids_depend_on_the_text_alone() -> None:
    assert prompt_id("a red circle ") == prompt_id("a red circle") != prompt_id("a red square")
