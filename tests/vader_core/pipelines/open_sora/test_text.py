"""Prompts become the text that Open-Sora 1.2 was trained on."""

from __future__ import annotations

import pytest

from vader_core.pipelines.open_sora.text import cleaned, training_text


@pytest.mark.parametrize(
    ("prompt", "score", "expected"),
    [
        ("A beautiful Waterfall", 6.5, "a beautiful waterfall aesthetic score: 6.5."),
        ("A dog. aesthetic score: 5.0.", 6.5, "a dog. aesthetic score: 5.0."),
        ("A dog", None, "a dog"),
        ("A dog", 7, "a dog aesthetic score: 7.0."),
    ],
)
def test_the_score_stands_at_the_end_once(prompt: str, score: float | None, expected: str) -> None:
    assert training_text(prompt, score) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A CAT\nand   a dog ", "a cat and a dog"),
        ("cats+and%20dogs", "cats and dogs"),
        ("a <b>bold</b> fox &amp; a hen", "a bold fox a hen"),
        ("<person> walks", "person walks"),
        ("see https://example.com/a/b and www.example.org now", "see and now"),
        ("a boat by @painter", "a boat by"),
        ("a dragon \u9f8d over hills", "a dragon over hills"),
        ("dusk \u2014 \u201cthe end\u201d \u2018now\u2019", 'dusk - "the end" \'now'),
        ("a view (wide) [4k] {x} | y / z * w", "a view wide 4k x y z w"),
        ("no. 10.0.0.1 #12 1234567 photo_1.png", "no."),
        ("wait... what", "wait what"),
        ("a-very-long-file_name", "a very long file name"),
        ("a red-brown fox", "a red-brown fox"),
        ("1920x1080 ab1234 abc12de 12ab34 clip", "clip"),
        ("one,two.three", "one, two. three"),
        ("'quoted'", "quoted"),
        (":starts and ends,", "starts and ends"),
        ("\ufb01ne caf\u00e9", "fine caf\u00e9"),
    ],
)
def test_what_is_not_words_goes(text: str, expected: str) -> None:
    assert cleaned(text) == expected
