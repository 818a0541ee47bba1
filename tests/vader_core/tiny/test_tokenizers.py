"""The tokenizers of the tiny models."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, CLIPTokenizer

from vader_core.tiny import world
from vader_core.tiny.tokenizers import CONTEXT, clip_tokenizer, word_tokenizer


def test_each_word_of_the_grammar_is_one_clip_token(tmp_path: Path) -> None:
    clip_tokenizer().save_pretrained(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    for word in world.words():
        assert len(tokenizer(word).input_ids) == 3, word  # start, the word, end


def test_every_prompt_survives_the_way_through_the_tokens() -> None:
    clip, words = clip_tokenizer(), word_tokenizer()
    for prompt in world.all_prompts():
        for tokenizer in (clip, words):
            tokens = tokenizer(prompt).input_ids
            assert len(tokens) <= CONTEXT
            assert tokenizer.decode(tokens, skip_special_tokens=True).split() == prompt.split()


def test_clip_tokens_spell_words_that_the_grammar_lacks() -> None:
    tokenizer = clip_tokenizer()
    tokens = tokenizer("a dog").input_ids
    assert tokenizer.unk_token_id not in tokens[1:-1]
    assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == "a dog"


def test_the_word_tokenizer_ends_and_pads_as_t5_does(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    encoded = tokenizer(["", "a red dog"], padding="max_length", max_length=6)
    end, pad, unknown = tokenizer.eos_token_id, 0, tokenizer.unk_token_id
    assert encoded.input_ids[0] == [end] + [pad] * 5
    assert encoded.input_ids[1][2:] == [unknown, end, pad, pad]
    assert encoded.attention_mask == [[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
