from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from tests.vader_core.rewards import checks
from tests.vader_core.rewards.small_detectors import stirred
from vader_core.convert.viclip import config_of, convert
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.viclip import ViClipConfig, ViClipModel
from vader_core.rewards.video_text import VideoText

MERGES = ["r e", "re d</w>", "c i", "ci r", "c l", "cl e</w>"]
# The published classes: Data/InternVid/viclip of OpenGVLab/InternVideo (viclip.py, viclip_vision.py:
# clip_joint_l14 and _b16, viclip_text.py: clip_text_l14 and _b16), 8 frames of 224x224, 32 text tokens.
SIZES = {
    "l": {"width": 1024, "layers": 24, "patch": 14, "text": 768, "embedding": 768},
    "b": {"width": 768, "layers": 12, "patch": 16, "text": 512, "embedding": 512},
}
PUBLISHED_BYTES = {"l": 1.71e9, "b": 598e6}


def published_shapes(width: int, layers: int, patch: int, text: int, embedding: int) -> Any:
    places = (224 // patch) ** 2 + 1
    shapes = {
        "temp": (),
        "vision_encoder.class_embedding": (width,),
        "vision_encoder.positional_embedding": (places, width),
        "vision_encoder.temporal_positional_embedding": (1, 8, width),
        "vision_encoder.proj": (width, embedding),
        "vision_encoder.conv1.weight": (width, 3, 1, patch, patch),
        "text_encoder.positional_embedding": (32, text),
        "text_encoder.text_projection": (text, embedding),
        "text_encoder.token_embedding.weight": (49408, text),
    }
    norms = {f"vision_encoder.{name}": width for name in ("ln_pre", "ln_post")}
    norms |= {"text_encoder.ln_final": text}
    for side, wide, count in (("vision", width, layers), ("text", text, 12)):
        for layer in range(count):
            block = f"{side}_encoder.transformer.resblocks.{layer}"
            shapes |= {
                f"{block}.attn.in_proj_weight": (3 * wide, wide),
                f"{block}.attn.in_proj_bias": (3 * wide,),
                f"{block}.attn.out_proj.weight": (wide, wide),
                f"{block}.attn.out_proj.bias": (wide,),
                f"{block}.mlp.c_fc.weight": (4 * wide, wide),
                f"{block}.mlp.c_fc.bias": (4 * wide,),
                f"{block}.mlp.c_proj.weight": (wide, 4 * wide),
                f"{block}.mlp.c_proj.bias": (wide,),
            }
            norms |= {f"{block}.ln_1": wide, f"{block}.ln_2": wide}
    for name, wide in norms.items():
        shapes |= {f"{name}.weight": (wide,), f"{name}.bias": (wide,)}
    return shapes


@pytest.mark.parametrize("size", ["l", "b"])
def test_names_and_shapes_are_those_of_the_published_checkpoint(size: str) -> None:
    shapes = published_shapes(**SIZES[size])
    meta = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    del meta["temp"]
    with torch.device("meta"):
        model = ViClipModel(config_of(meta, Path("model.safetensors")))
    assert {name: one.shape for name, one in model.state_dict().items()} == {
        name: one.shape for name, one in meta.items()
    }
    total = 4 * sum(one.numel() for one in meta.values())
    assert abs(total / PUBLISHED_BYTES[size] - 1) < 0.002


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """A small model in the published form."""
    torch.manual_seed(0)
    config = ViClipConfig(
        image_size=32,
        patch_size=16,
        num_frames=3,
        vision_width=64,
        vision_layers=1,
        text_width=64,
        text_layers=2,
        context_length=16,
        vocab_size=512 + len(MERGES) + 2,
        projection_dim=12,
    )
    tensors = {**stirred(ViClipModel(config)).state_dict(), "temp": torch.tensor(0.01)}
    weights, vocabulary = tmp_path / "model.safetensors", tmp_path / "bpe.txt.gz"
    save_file(tensors, weights)
    # The published file starts with a line about itself and holds more merges than are used.
    lines = ["about this file", *MERGES, "u n", "un used", ""]
    vocabulary.write_bytes(gzip.compress("\n".join(lines).encode()))
    return {"weights": weights, "vocabulary": vocabulary}


def test_converted_folder_serves_as_a_reward(sources: dict[str, Path], tmp_path: Path) -> None:
    convert(sources, tmp_path / "out")
    loaded = ViClipModel.from_pretrained(tmp_path / "out")
    assert loaded.config.vision_layers == 1
    assert loaded.config.text_layers == 2
    reward = VideoText(checks.row(tmp_path / "out"), {}, checks.compute())
    score = reward.score(checks.videos(), checks.PROMPTS)
    assert score.shape == (2,)
    assert score.abs().max() <= 1


def test_tokens_are_numbered_as_clip_numbers_them(sources: dict[str, Path], tmp_path: Path) -> None:
    """Bytes, bytes at a word's end, merges in the file's order, start and end."""
    convert(sources, tmp_path / "out")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "out")
    start, end = 518, 519
    letter = {symbol: ord(symbol) - ord("!") for symbol in "circleablue"}
    assert tokenizer("Red")["input_ids"] == [start, 512 + 1, end]
    circle = [512 + 3, 512 + 5]
    assert tokenizer("red  circle")["input_ids"] == [start, 512 + 1, *circle, end]
    word = [letter["b"], letter["l"], letter["u"], 256 + letter["e"]]
    assert tokenizer("blue")["input_ids"] == [start, *word, end]


def test_everything_that_is_not_as_published_is_named_at_once(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    config = ViClipConfig(
        image_size=32,
        vision_width=64,
        vision_layers=1,
        text_width=64,
        text_layers=1,
        vocab_size=520,
    )
    tensors = dict(ViClipModel(config).state_dict())
    del tensors["vision_encoder.ln_pre.bias"]
    tensors["vision_encoder.proj"] = torch.zeros(3, 3)
    tensors["vision_encoder.extra"] = torch.zeros(1)
    save_file(tensors, sources["weights"])
    with pytest.raises(WeightsUnreadable) as caught:
        convert(sources, tmp_path / "out")
    for expected in ("ln_pre.bias is missing", "proj is (3, 3)", "extra is not known"):
        assert expected in caught.value.message
    assert not (tmp_path / "out").exists()


def test_vocabulary_of_too_few_merges_is_refused(sources: dict[str, Path], tmp_path: Path) -> None:
    sources["vocabulary"].write_bytes(gzip.compress(b"about\nr e\n"))
    with pytest.raises(WeightsUnreadable, match="1 merges; the model needs 6"):
        convert(sources, tmp_path / "out")
    sources["vocabulary"].write_bytes(b"no archive")
    with pytest.raises(WeightsUnreadable, match="cannot be read"):
        convert(sources, tmp_path / "out")
