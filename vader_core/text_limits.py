"""How much of a prompt a base model's text encoder reads, and how long prompts are for it. Free of torch."""

from __future__ import annotations

import functools
import json
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from vader_core.catalogue import BaseModelRow

_log = logging.getLogger(__name__)

Basis = Literal["tokenizer", "words"]

# What each family's pipeline cuts texts to, the tokens that frame a text included: diffusers' defaults,
# which the families keep to; 77 is CLIP's. A family that reads no text is missing.
TEXT_TOKENS: dict[str, int] = {
    "allegro": 512,
    "animatediff": 77,
    "cogvideox": 226,
    "cogvideox_image": 226,
    "hunyuan_video": 256,
    "hunyuan_video_15": 1000,
    "hunyuan_video_15_image": 1000,
    "hunyuan_video_image": 256,
    "latte": 120,
    "ltx": 128,
    "ltx2": 1024,
    "mochi": 256,
    "open_sora": 300,
    "skyreels": 512,
    "skyreels_image": 512,
    "text_to_video_sd": 77,
    "videocrafter": 77,
    "wan": 512,
    "wan_image": 512,
}
# Tokenizers without a length of their own name an absurd one.
_MOST_TOKENS = 100_000
_FILES = ("tokenizer.json", "tokenizer_config.json")
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힣]|\w+|[^\w\s]")


@dataclass(frozen=True)
class TextReader:
    """A base model's way with texts. `limit` is in tokens; what goes beyond is cut off unseen.

    `tokenizer` None: its weights are not here, and lengths are estimated by words.
    """

    limit: int
    tokenizer: Tokenizer | None

    @property
    def basis(self) -> Basis:
        return "words" if self.tokenizer is None else "tokenizer"

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The tokens of every text, those that frame it included."""
        if self.tokenizer is None:
            return [estimated_tokens(text) for text in texts]
        return [len(found.ids) for found in self.tokenizer.encode_batch(list(texts))]


def estimated_tokens(text: str) -> int:
    """About how many tokens `text` has: four for every three words and signs, and two that frame it.

    A rule of thumb for English; Chinese, Japanese and Korean characters count as words.
    """
    return math.ceil(len(_WORD.findall(text)) * 4 / 3) + 2


def text_reader(row: BaseModelRow) -> TextReader | None:
    """How the base model reads texts; None where it reads none, or where nobody knows."""
    limit = TEXT_TOKENS.get(row.family)
    if limit is None:
        return None
    words, settings = (row.folder / "tokenizer" / name for name in _FILES)
    # Looked for every time: weights may be fetched while the service runs.
    own = _own_limit(settings) if settings.is_file() else None
    tokenizer = _tokenizer(words) if words.is_file() else None
    return TextReader(min(limit, own or limit), tokenizer)


@functools.lru_cache(maxsize=8)
def _tokenizer(path: Path) -> Tokenizer | None:
    try:
        found = Tokenizer.from_file(str(path))
    # The library raises bare exceptions over broken files.
    except Exception as error:
        _log.warning("%s cannot be read, lengths are estimated: %s", path, error)
        return None
    found.no_truncation()
    found.no_padding()
    return found


@functools.lru_cache(maxsize=64)
def _own_limit(path: Path) -> int | None:
    try:
        limit = json.loads(path.read_text(encoding="utf-8")).get("model_max_length")
    except (OSError, ValueError):
        return None
    return limit if isinstance(limit, int) and 0 < limit <= _MOST_TOKENS else None
