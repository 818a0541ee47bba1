"""Tokenizers made from the words of the grammar, in the formats that the pipelines load."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from vader_core.tiny import world

CONTEXT = 16  # tokens per prompt
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
_WORD_END = "</w>"


def clip_tokenizer() -> CLIPTokenizer:
    """A byte-pair CLIP tokenizer in which each word of the grammar is one token.

    Letters are tokens of their own, so any other English prompt can be encoded as well.
    """
    symbols = string.ascii_lowercase + string.digits + string.punctuation
    pieces = [*symbols, *(symbol + _WORD_END for symbol in symbols)]
    merges: list[str] = []
    for word in world.words():
        merges += _merges(word, known=merges)
    pieces += ["".join(merge.split()) for merge in merges]
    unique = list(dict.fromkeys(pieces))
    vocabulary = {piece: index for index, piece in enumerate(unique)}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        vocab_file, merges_file = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocab_file.write_text(json.dumps(vocabulary), encoding="utf-8")
        lines = ["#version: 0.2", *merges, ""]
        merges_file.write_text("\n".join(lines), encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=CONTEXT)


def _merges(word: str, *, known: list[str]) -> list[str]:
    """The further merge rules that make one token of a word.

    The known rules are applied first, as the tokenizer applies them: a rule of an earlier word may
    already have joined letters of this one ("r e" of "red" in "green").
    """
    parts = [*word[:-1], word[-1] + _WORD_END]
    for rule in known:
        left, right = rule.split()
        parts = _apply(parts, left, right)
    rules = []
    while len(parts) > 1:
        rules.append(f"{parts[0]} {parts[1]}")
        parts = [parts[0] + parts[1], *parts[2:]]
    return rules


def _apply(parts: list[str], left: str, right: str) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if joined and joined[-1] == left and part == right:
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with T5's conventions: pad is 0, and every prompt ends in `</s>`."""
    pieces = [PAD, END, UNKNOWN, *world.words()]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, vocabulary[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=CONTEXT,
    )
