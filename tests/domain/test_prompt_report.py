from __future__ import annotations

from pathlib import Path

from domain.prompt_report import Predecessor, PromptReport, PromptWarning, Read, report_of
from vader_core.catalogue import BUILT_IN, BaseModelRow
from vader_core.spec import Prompt

TINY = BUILT_IN.base_models["tiny-unet"]


def report(
    prompts: list[Prompt],
    *,
    row: BaseModelRow | None = None,
    before: list[Prompt] | None = None,
    empty_lines: tuple[str, ...] = (),
) -> PromptReport:
    read = Read(prompts, [f"/prompts/{index}" for index in range(len(prompts))], empty_lines)
    predecessor = None if before is None else Predecessor(3, before)
    return report_of(read, base_model=row, predecessor=predecessor)


def warnings(found: PromptReport) -> dict[str, PromptWarning]:
    return {warning.code: warning for warning in found.warnings}


def many(count: int, **fields: object) -> list[Prompt]:
    return [
        Prompt.model_validate({"prompt": f"a red circle {number}", **fields})
        for number in range(count)
    ]


def test_a_good_set_has_counts_and_no_warnings() -> None:
    found = report([*many(8, heldout=False), *[Prompt(prompt=t, heldout=True) for t in "abc"]])
    assert (found.prompts, found.training, found.heldout, found.marked) == (11, 8, 3, 11)
    assert found.warnings == []
    assert found.text is None


def test_repeats_are_told_apart_by_how_alike_they_are() -> None:
    texts = ["a red circle", "a red circle ", "A  Red circle", "a blue circle", "a red circle"]
    found = report([Prompt(prompt=text, heldout=True) for text in texts])
    assert (found.exact_duplicates, found.alike_duplicates) == (2, 1)
    assert warnings(found)["exact_duplicates"].pointers == ["/prompts/1", "/prompts/4"]
    assert warnings(found)["alike_duplicates"].pointers == ["/prompts/2"]


def test_prompts_with_other_images_do_not_repeat_each_other() -> None:
    found = report([Prompt(prompt="move", image=f"{name}.png") for name in "ab"])
    assert (found.exact_duplicates, found.with_image) == (0, 2)


def test_lengths_are_those_of_the_base_models_own_tokenizer() -> None:
    found = report([*many(3), Prompt(prompt="a red circle moving left " * 4)], row=TINY)
    assert found.text is not None
    assert (found.text.base_model, found.text.limit, found.text.basis) == (
        "tiny-unet@1",
        16,
        "tokenizer",
    )
    assert (found.text.longest, found.text.too_long) == (22, 1)
    warning = warnings(found)["too_long_for_text_encoder"]
    assert (warning.count, warning.pointers) == (1, ["/prompts/3"])


def test_without_the_weights_lengths_are_estimated_and_said_to_be() -> None:
    away = TINY.model_copy(update={"folder": Path("/nowhere"), "family": "wan"})
    found = report([*many(3), Prompt(prompt="word " * 390)], row=away)
    assert found.text is not None
    assert (found.text.limit, found.text.basis, found.text.too_long) == (512, "words", 1)
    assert "estimated" in warnings(found)["too_long_for_text_encoder"].detail


def test_a_base_model_that_reads_no_text_has_no_lengths() -> None:
    row = BUILT_IN.base_models["svd"]
    found = report([Prompt(prompt="a"), Prompt(prompt="b", image="b.png")], row=row)
    assert found.text is None
    assert warnings(found)["missing_images"].pointers == ["/prompts/0"]
    assert (
        warnings(report([Prompt(prompt="b", image="b.png")], row=TINY))["needless_images"].count
        == 1
    )


def test_targets_that_some_lack_are_told() -> None:
    some = [Prompt(prompt="a", target="left"), Prompt(prompt="b"), Prompt(prompt="c", target="up")]
    found = report(some)
    assert found.targets == ["left", "up"]
    assert warnings(found)["missing_targets"].pointers == ["/prompts/1"]
    assert "missing_targets" not in warnings(report([Prompt(prompt="a"), Prompt(prompt="b")]))


def test_sides_too_small_for_a_job_are_told() -> None:
    codes = [
        set(warnings(report(many(4, heldout=True)))),
        set(warnings(report(many(4, heldout=False)))),
        set(warnings(report([*many(4, heldout=False), Prompt(prompt="x", heldout=True)]))),
    ]
    assert codes == [{"no_training_prompts"}, {"no_heldout_prompts"}, {"few_heldout_prompts"}]


def test_a_version_is_held_against_the_one_before() -> None:
    before = [*many(4, heldout=False), *[Prompt(prompt=t, heldout=True) for t in "abc"]]
    assert set(warnings(report(before, before=before))) == {"unchanged"}
    moved = [*before[:-1], Prompt(prompt="C", heldout=False), Prompt(prompt="d", heldout=True)]
    found = warnings(report(moved, before=before))["changed_sides"]
    assert (found.count, found.pointers) == (1, ["/prompts/6"])


def test_of_many_places_the_first_are_named_and_all_are_counted() -> None:
    lines = tuple(f"/lines/{number}" for number in range(1, 101))
    found = warnings(report(many(8), empty_lines=lines))["empty_lines"]
    assert (found.count, len(found.pointers)) == (100, 20)
