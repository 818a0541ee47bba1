from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import conv2d
from transformers import AutoTokenizer, BlipTextConfig, BlipVisionConfig, BlipVisionModel

from tests.vader_core.convert import plain_layers as plain
from tests.vader_core.rewards import checks
from vader_core.convert import image_reward
from vader_core.convert.clip_vit_h import write_preprocessing
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.head import Head, HeadConfig
from vader_core.rewards.image_reward import TEXT, VISION, ImageReward, TextEncoder

PATH = Path("ImageReward.pt")
MEAN, STD = 0.16717362830052426, 1.0333394966054072


def vision_shapes(width: int, layers: int, patch: int, patches: int) -> plain.Shapes:
    """`VisionTransformer` of models/BLIP/vit.py."""
    shapes: plain.Shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, patches + 1, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        **plain.norm_shapes("norm", width),
    }
    for name in (f"blocks.{index}" for index in range(layers)):
        shapes |= plain.norm_shapes(f"{name}.norm1", width)
        shapes |= plain.norm_shapes(f"{name}.norm2", width)
        shapes |= plain.linear_shapes(f"{name}.attn.qkv", width, 3 * width)
        shapes |= plain.linear_shapes(f"{name}.attn.proj", width, width)
        shapes |= plain.linear_shapes(f"{name}.mlp.fc1", width, 4 * width)
        shapes |= plain.linear_shapes(f"{name}.mlp.fc2", 4 * width, width)
    return {f"blip.visual_encoder.{name}": shape for name, shape in shapes.items()}


def text_shapes(width: int, layers: int, words: int, places: int, seen: int) -> plain.Shapes:
    """`BertModel` of models/BLIP/med.py with cross-attention to states of width `seen`, no pooler."""
    shapes: plain.Shapes = {
        "embeddings.position_ids": (1, places),
        "embeddings.word_embeddings.weight": (words, width),
        "embeddings.position_embeddings.weight": (places, width),
        **plain.norm_shapes("embeddings.LayerNorm", width),
    }
    for name in (f"encoder.layer.{index}" for index in range(layers)):
        for kind, source in (("attention", width), ("crossattention", seen)):
            shapes |= plain.linear_shapes(f"{name}.{kind}.self.query", width, width)
            shapes |= plain.linear_shapes(f"{name}.{kind}.self.key", source, width)
            shapes |= plain.linear_shapes(f"{name}.{kind}.self.value", source, width)
            shapes |= plain.linear_shapes(f"{name}.{kind}.output.dense", width, width)
            shapes |= plain.norm_shapes(f"{name}.{kind}.output.LayerNorm", width)
        shapes |= plain.linear_shapes(f"{name}.intermediate.dense", width, 4 * width)
        shapes |= plain.linear_shapes(f"{name}.output.dense", 4 * width, width)
        shapes |= plain.norm_shapes(f"{name}.output.LayerNorm", width)
    return {f"blip.text_encoder.{name}": shape for name, shape in shapes.items()}


def other_shapes(vision: int, widths: tuple[int, ...]) -> plain.Shapes:
    """BLIP's two projections, and `MLP` of ImageReward.py."""
    shapes = plain.linear_shapes("blip.vision_proj", vision, 256)
    shapes |= plain.linear_shapes("blip.text_proj", widths[0], 256)
    for place, old, new in zip((0, 2, 4, 6, 7), widths[:-1], widths[1:], strict=True):
        shapes |= plain.linear_shapes(f"mlp.layers.{place}", old, new)
    return shapes


def published() -> dict[str, torch.Tensor]:
    shapes = {
        **vision_shapes(1024, 24, 16, 196),
        **text_shapes(768, 12, 30524, 512, 1024),
        **other_shapes(1024, (768, 1024, 128, 64, 16, 1)),
    }
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def test_published_names_and_shapes_fill_the_whole_model() -> None:
    tensors = published()
    # The published file of 1.79 GB holds 4 bytes for each.
    assert 1.785e9 < 4 * sum(tensor.numel() for tensor in tensors.values()) < 1.795e9
    image_reward.fill(image_reward.published_parts(), tensors, path=PATH)


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    tensors = published()
    del tensors["blip.visual_encoder.norm.bias"]
    tensors["mlp.layers.0.weight"] = torch.empty(512, 768, device="meta")
    tensors["blip.itm_head.weight"] = torch.empty(2, 768, device="meta")
    with pytest.raises(WeightsUnreadable) as caught:
        image_reward.fill(image_reward.published_parts(), tensors, path=PATH)
    for fault in (
        "blip.visual_encoder.norm.bias is missing",
        "mlp.layers.0.weight is (512, 768), not (1024, 768)",
        "blip.itm_head.weight is not known",
    ):
        assert fault in caught.value.message


def image_states(pixels_NCHW: torch.Tensor, tensors: plain.Tensors) -> torch.Tensor:
    top = "blip.visual_encoder"
    weight, bias = (tensors[f"{top}.patch_embed.proj.{kind}"] for kind in ("weight", "bias"))
    patches = conv2d(pixels_NCHW, weight, bias, stride=8).flatten(2).transpose(1, 2)
    first = tensors[f"{top}.cls_token"].expand(len(patches), 1, -1)
    x = torch.cat([first, patches], 1) + tensors[f"{top}.pos_embed"]
    for name in (f"{top}.blocks.{index}" for index in range(2)):
        normed = plain.norm(x, tensors, f"{name}.norm1", 1e-6)
        query, key, value = plain.linear(normed, tensors, f"{name}.attn.qkv").chunk(3, -1)
        seen = plain.attention(query, key, value, heads=2)
        x = x + plain.linear(seen, tensors, f"{name}.attn.proj")
        fed = plain.linear(
            plain.norm(x, tensors, f"{name}.norm2", 1e-6), tensors, f"{name}.mlp.fc1"
        )
        x = x + plain.linear(plain.gelu(fed), tensors, f"{name}.mlp.fc2")
    return plain.norm(x, tensors, f"{top}.norm", 1e-6)


def looked(
    x: torch.Tensor,
    source: torch.Tensor,
    tensors: plain.Tensors,
    name: str,
    hidden: torch.Tensor | None = None,
) -> torch.Tensor:
    """BERT's attention to `source`, its residual and its norm."""
    parts = [
        plain.linear(states, tensors, f"{name}.self.{part}")
        for states, part in ((x, "query"), (source, "key"), (source, "value"))
    ]
    seen = plain.attention(*parts, heads=3, hidden=hidden)
    out = plain.linear(seen, tensors, f"{name}.output.dense") + x
    return plain.norm(out, tensors, f"{name}.output.LayerNorm", 1e-12)


def plain_scores(
    pixels_NCHW: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor, tensors: plain.Tensors
) -> torch.Tensor:
    image = image_states(pixels_NCHW, tensors)
    top = "blip.text_encoder"
    x = tensors[f"{top}.embeddings.word_embeddings.weight"][tokens]
    x = x + tensors[f"{top}.embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = plain.norm(x, tensors, f"{top}.embeddings.LayerNorm", 1e-12)
    for name in (f"{top}.encoder.layer.{index}" for index in range(2)):
        x = looked(x, x, tensors, f"{name}.attention", hidden=(mask == 0)[:, None, None])
        x = looked(x, image, tensors, f"{name}.crossattention")
        fed = plain.gelu(plain.linear(x, tensors, f"{name}.intermediate.dense"))
        out = plain.linear(fed, tensors, f"{name}.output.dense") + x
        x = plain.norm(out, tensors, f"{name}.output.LayerNorm", 1e-12)
    x = x[:, 0]
    for place in (0, 2, 4, 6, 7):
        x = plain.linear(x, tensors, f"mlp.layers.{place}")
    return (x[:, 0] - MEAN) / STD


def small_tensors() -> dict[str, torch.Tensor]:
    return plain.drawn(
        {
            **vision_shapes(32, 2, 8, 16),
            **text_shapes(24, 2, 193, 40, 32),
            **other_shapes(32, (24, 20, 16, 12, 8, 1)),
        }
    )


def small_folder(folder: Path) -> Path:
    """Small tensors converted, with the tiny CLIP's tokenizer; pictures of 32x32."""
    layers = {"num_hidden_layers": 2}
    vision = {"hidden_size": 32, "intermediate_size": 128, "image_size": 32, "patch_size": 8}
    text = {"hidden_size": 24, "intermediate_size": 96, "vocab_size": 193, "pad_token_id": 192}
    states = {"encoder_hidden_size": 32, "max_position_embeddings": 40, "num_attention_heads": 3}
    with torch.device("meta"):
        parts = image_reward.Parts(
            BlipVisionModel(
                BlipVisionConfig(**layers, **vision, num_attention_heads=2, layer_norm_eps=1e-6)
            ),
            TextEncoder(BlipTextConfig(**layers, **text, **states)),
            Head(HeadConfig(widths=[24, 20, 16, 12, 8, 1])),
        )
    image_reward.fill(parts, small_tensors(), path=PATH)
    parts.vision.save_pretrained(folder / VISION)
    parts.text.save_pretrained(folder / TEXT)
    parts.head.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checks.TINY_CLIP / name, folder)
    edges = {"height": 32, "width": 32}
    write_preprocessing(folder, size={"shortest_edge": 32}, do_center_crop=True, crop_size=edges)
    return folder


def small_reward(folder: Path) -> ImageReward:
    return ImageReward(checks.row(folder, mean=MEAN, std=STD), {}, checks.compute())


def test_scores_are_those_of_the_published_equations(tmp_path: Path) -> None:
    folder, frames = small_folder(tmp_path), checks.videos(32, 40)
    mean, std = (
        torch.tensor(three, dtype=torch.float64).view(3, 1, 1)
        for three in (
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
        )
    )
    pixels = (frames.flatten(0, 1)[..., 4:36] - mean) / std
    tokens = AutoTokenizer.from_pretrained(folder)(
        [prompt.prompt for prompt in checks.PROMPTS for _ in range(3)],
        padding="max_length",
        max_length=35,
        return_tensors="pt",
    )
    # Head weights reach the model in float32.
    tensors = {
        name: value.float().double() if name.startswith("mlp") else value
        for name, value in small_tensors().items()
    }
    expected = plain_scores(pixels, tokens["input_ids"], tokens["attention_mask"], tensors)
    found = small_reward(folder).score(frames, checks.PROMPTS)
    assert torch.allclose(found, expected.view(2, 3).mean(1), atol=1e-9)


def test_tokenizer_comes_back_from_the_folder(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "mov", "##ing"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    image_reward.bert_tokenizer(tmp_path).save_pretrained(tmp_path / "out")
    again = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    found = again(["A RED moving"], padding="max_length", max_length=8)
    assert found["input_ids"] == [[2, 5, 6, 7, 8, 3, 0, 0]]


def test_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnreadable, match=r"lacks vocab\.txt"):
        image_reward.convert({"checkpoint": PATH, "tokenizer": tmp_path}, tmp_path / "out")
