from __future__ import annotations

import json
from pathlib import Path

import pytest

from vader_core.catalogue import BUILT_IN
from vader_core.text_limits import TEXT_TOKENS, estimated_tokens, text_reader
from vader_core.tiny.tokenizers import CONTEXT

TINY = BUILT_IN.base_models["tiny-wan"]


def test_every_family_but_those_without_text_has_a_limit() -> None:
    families = {row.family for row in BUILT_IN.base_models.values()}
    assert families - set(TEXT_TOKENS) == {"stable_video_diffusion"}
    assert set(TEXT_TOKENS) <= families


@pytest.mark.parametrize("name", ["tiny-unet", "tiny-wan"])
def test_the_tokenizer_of_installed_weights_counts_beyond_its_own_limit(name: str) -> None:
    reader = text_reader(BUILT_IN.base_models[name])
    assert reader is not None
    assert (reader.limit, reader.basis) == (CONTEXT, "tokenizer")
    short, long = reader.lengths(["a red circle moving left", "a red circle " * 20])
    assert short < CONTEXT < 60 <= long


def test_without_a_tokenizer_lengths_are_estimated(tmp_path: Path) -> None:
    reader = text_reader(TINY.model_copy(update={"folder": tmp_path}))
    assert reader is not None
    assert (reader.limit, reader.basis) == (TEXT_TOKENS["wan"], "words")
    assert reader.lengths(["a red circle"]) == [6]


def test_a_broken_tokenizer_is_as_good_as_none(tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64}))
    reader = text_reader(TINY.model_copy(update={"folder": tmp_path}))
    assert reader is not None
    assert (reader.limit, reader.basis) == (64, "words")


def test_a_family_that_reads_no_text_has_no_reader() -> None:
    assert text_reader(BUILT_IN.base_models["svd"]) is None


def test_characters_of_scripts_without_spaces_count_as_words() -> None:
    assert estimated_tokens("一只红色的风筝") == estimated_tokens(
        "one red kite over the windy beach"
    )
