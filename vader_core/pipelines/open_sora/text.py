"""Prompts as Open-Sora 1.2's text encoder was given them in training: cleaned, with a score at the end.

What is cleaned away is described by hpcaitech/Open-Sora, tag v1.2.0,
opensora/models/text_encoder/t5.py (the cleaning that DeepFloyd IF and PixArt were trained with): text
from the web becomes plain lower-case text. Markup is taken out by the standard library's parser, where
the published code uses Beautiful Soup's front to the same parser. Left out are the rules for phrases of
web shops and galleries ("free shipping", "click for", "page 3", "png images"), which a prompt has no
reason to contain.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from urllib.parse import unquote_plus

import ftfy

_SITES = "com|co|ru|net|org|edu|gov|it"
_FILES = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"
# Strokes, phonetic extensions, enclosed and compatibility forms, hexagrams and ideographs of CJK.
_CJK = r"[\u31c0-\u31ff\u3200-\u4dff\u4e00-\u9fff]+"
_DASHES = (
    "[-\u058a\u05be\u1400\u1806\u2010-\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u3030\u30a0"
    "\ufe31\ufe32\ufe58\ufe63\uff0d]+"
)
_BEFORE_MARKUP = (
    (r"<person>", "person"),
    (rf"\b(https?:(/{{1,3}}|[a-z0-9%])|[a-z0-9.\-]+[.]({_SITES})[\w/-]*\b/?(?!@))", ""),
    (rf"\b(www:(/{{1,3}}|[a-z0-9%])|[a-z0-9.\-]+[.]({_SITES})[\w/-]*\b/?(?!@))", ""),
)
_CHARACTERS = (
    (r"@\w+\b", ""),  # nicknames
    (_CJK, ""),
    (_DASHES, "-"),
    ("[`\u00b4\u00ab\u00bb\u201c\u201d\u00a8]", '"'),
    ("[\u2018\u2019]", "'"),
    (r"&quot;?|&amp", ""),
    (r"\d{1,3}(\.\d{1,3}){3}", " "),  # network addresses
    (r"\d:\d\d\s+$", ""),
    (r"\\n", " "),
    (r"#\d{1,3}\b|#\d{5,}\b|\b\d{6,}\b", ""),
    (rf"\S+\.({_FILES})", ""),
    (r"[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (
        "[#\u00ae\u2022\u00a9\u2122&@\u00b7\u00ba\u00bd\u00be\u00bf\u00a1\u00a7~)(\\]\\[}{|\\\\/*]+",
        " ",
    ),
    (r"\s+\.\s+", " "),
)
_CODES = (
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),
    (r"\b\d+[a-zA-Z]+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),
    ("\\b\\d+\\.?\\d*[x\u0445\u00d7]\\d+\\.?\\d*\\b", ""),  # sizes
)
_SPACING = (
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
)
_EDGES = (
    (r"^[\"']([\w\W]+)[\"']$", r"\1"),
    (r"^['_,\-:;]", ""),
    (r"['_,\-:+]$", ""),
    (r"^\.\S+$", ""),
)
# A text with more of these than this is a file's name, and they stand for spaces.
_SEPARATORS = re.compile("[-_]")
_MOST_SEPARATORS = 3


def training_text(prompt: str, aesthetic_score: float | None) -> str:
    """`prompt` as the text encoder knows prompts; `aesthetic_score` is what the video's is asked to be."""
    if aesthetic_score is not None and "aesthetic score:" not in prompt:
        prompt = f"{prompt} aesthetic score: {aesthetic_score:.1f}."
    # Twice, as in training: what the first pass uncovers the second cleans away.
    return cleaned(cleaned(prompt))


def cleaned(text: str) -> str:
    """`text` in lower case, without what a caption taken from the web has besides words."""
    text = _replaced(unquote_plus(text).strip().lower(), _BEFORE_MARKUP)
    text = _replaced(_without_markup(text), _CHARACTERS)
    if len(_SEPARATORS.findall(text)) > _MOST_SEPARATORS:
        text = _SEPARATORS.sub(" ", text)
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return _replaced(text, (*_CODES, *_SPACING, *_EDGES)).strip()


def _replaced(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text


def _without_markup(text: str) -> str:
    collector = _TextCollector(convert_charrefs=True)
    collector.feed(text)
    collector.close()
    return "".join(collector.texts)


class _TextCollector(HTMLParser):
    """Keeps the text between tags."""

    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
