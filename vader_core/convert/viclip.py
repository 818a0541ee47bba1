"""ViCLIP from its published files: the two encoders and CLIP's byte-pair vocabulary become one folder.

Source: OpenGVLab/ViCLIP-L-14-hf and OpenGVLab/ViCLIP-B-16-hf on the hub, whose classes are those of
OpenGVLab/InternVideo, Data/InternVid/viclip. The sizes are read off the tensors. Preprocessing is that
of ViCLIP's own evaluation (InternVideo1/Pretrain/ViCLIP/dataset/__init__.py): stretched to the model's
size by a bicubic filter, mean and deviation of ImageNet. The vocabulary is the text file of merges that
CLIP was published with; the numbers of its tokens follow from the order of the file.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from vader_core.convert.published import filled, read, refuse, staged
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.viclip import ViClipConfig, ViClipModel

SOURCES = {
    "weights": "model.safetensors of OpenGVLab/ViCLIP-L-14-hf or OpenGVLab/ViCLIP-B-16-hf",
    "vocabulary": "bpe_simple_vocab_16e6.txt.gz of the same repository",
}
_EXPECTED = "ViCLIP's model.safetensors"
# The temperature of the training loss.
_UNUSED = {"temp"}
_BLOCK = re.compile(r"(vision|text)_encoder\.transformer\.resblocks\.(\d+)\.ln_1\.weight")
_START, _END = "<|startoftext|>", "<|endoftext|>"


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the reward folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    path = sources["weights"]
    tensors = {name: one for name, one in read(path).items() if name not in _UNUSED}
    config = config_of(tensors, path)
    with torch.device("meta"):
        model = ViClipModel(config)
    faults = filled(model, tensors, lambda name: name)
    faults += [f"{name} is not known" for name in sorted(set(tensors) - set(model.state_dict()))]
    refuse(path, faults, expected=_EXPECTED)
    tokenizer = tokenizer_of(sources["vocabulary"], config.vocab_size)
    with staged(out) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        text = json.dumps(_preprocessing(config.image_size), indent=2) + "\n"
        (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def config_of(tensors: Mapping[str, torch.Tensor], path: Path) -> ViClipConfig:
    """The sizes that the tensors have. Raises `WeightsUnreadable` where those that tell are missing."""
    try:
        kernel = tensors["vision_encoder.conv1.weight"]
        places = tensors["vision_encoder.positional_embedding"]
        words = tensors["text_encoder.token_embedding.weight"]
        patch = kernel.shape[-1]
        return ViClipConfig(
            image_size=patch * round((len(places) - 1) ** 0.5),
            patch_size=patch,
            num_frames=tensors["vision_encoder.temporal_positional_embedding"].shape[1],
            vision_width=len(kernel),
            vision_layers=_layers(tensors, "vision"),
            text_width=words.shape[1],
            text_layers=_layers(tensors, "text"),
            context_length=len(tensors["text_encoder.positional_embedding"]),
            vocab_size=len(words),
            projection_dim=tensors["text_encoder.text_projection"].shape[1],
        )
    except KeyError as error:
        raise WeightsUnreadable(
            f"{path} is not {_EXPECTED}: {error.args[0]} is missing.",
            hint=f"Give the published file: {SOURCES['weights']}.",
        ) from error


def _layers(tensors: Mapping[str, torch.Tensor], side: str) -> int:
    return sum(found[1] == side for name in tensors if (found := _BLOCK.fullmatch(name)))


def tokenizer_of(path: Path, vocab_size: int) -> CLIPTokenizer:
    """CLIP's tokenizer with as many merges as the model has tokens for.

    The tokens are all bytes, all bytes at a word's end, the results of the merges in the file's order,
    and the two marks of a text's start and end.
    """
    symbols = list(bytes_to_unicode().values())
    wanted = vocab_size - 2 * len(symbols) - 2
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise WeightsUnreadable(
            f"The vocabulary {path} cannot be read: {error}",
            hint=f"Give the published file: {SOURCES['vocabulary']}.",
        ) from error
    merges = [(left, right) for left, right in map(str.split, filter(None, lines[1 : 1 + wanted]))]
    if len(merges) != wanted:
        raise WeightsUnreadable(
            f"The vocabulary {path} has {len(merges)} merges; the model needs {wanted}.",
            hint=f"Give the published file: {SOURCES['vocabulary']}.",
        )
    pieces = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *map("".join, merges)]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, _START, _END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges)


def _preprocessing(image_size: int) -> dict[str, object]:
    return {
        "do_resize": True,
        "size": {"height": image_size, "width": image_size},
        "resample": 3,
        "do_center_crop": False,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
