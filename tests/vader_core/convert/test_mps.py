from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize, silu
from transformers import AutoTokenizer, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.vader_core.convert import plain_layers as plain
from tests.vader_core.rewards import checks
from vader_core.convert import mps
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.mps import Mps
from vader_core.rewards.mps_layers import CrossAttention, CrossAttentionConfig

PATH = Path("model.safetensors")
SMALL = CrossAttentionConfig(width=64, layers=2, heads=2, head_width=8, expansion=2)
CONDITION, THRESHOLD = "red, blue, left, circle.", 0.95


def cross_shapes(config: CrossAttentionConfig) -> plain.Shapes:
    """`Cross_model` of trainer/models/cross_modeling.py, without its buffers."""
    width, inner = config.width, config.heads * config.head_width
    hidden, one = config.expansion * config.width, config.head_width
    shapes: plain.Shapes = {}
    for top in (f"cross_model.layers.{index}" for index in range(config.layers)):
        shapes |= {
            f"{top}.0.fn.norm.weight": (width,),
            f"{top}.0.fn.to_q.weight": (inner, width),
            f"{top}.0.fn.to_kv.weight": (2 * one, width),
            f"{top}.0.fn.to_out.weight": (width, inner),
            f"{top}.0.fn.ff.0.weight": (2 * hidden, width),
            f"{top}.0.fn.ff.2.weight": (width, hidden),
            f"{top}.1.fn.norm.weight": (width,),
            f"{top}.1.fn.fused_attn_ff_proj.weight": (inner + 2 * one + 2 * hidden, width),
            f"{top}.1.fn.attn_out.weight": (width, inner),
            f"{top}.1.fn.ff_out.1.weight": (width, hidden),
        }
    return shapes


def buffers(config: CrossAttentionConfig) -> dict[str, torch.Tensor]:
    """What lies in the file and holds nothing learnt."""
    found = {"model.text_model.embeddings.position_ids": torch.arange(77)[None]}
    for top in (f"cross_model.layers.{index}" for index in range(config.layers)):
        found[f"{top}.0.fn.norm.bias"] = found[f"{top}.1.fn.norm.bias"] = torch.zeros(config.width)
        found[f"{top}.1.fn.rotary_emb.inv_freq"] = torch.ones(config.head_width // 2)
    return found


def published() -> dict[str, torch.Tensor]:
    """The file's tensors; the CLIP half has the names of transformers' `CLIPModel`, of which it is one."""
    config = CrossAttentionConfig()
    clip = mps.published_parts().clip.state_dict()
    cross = {
        name: torch.empty(shape, device="meta") for name, shape in cross_shapes(config).items()
    }
    return {**{f"model.{name}": one for name, one in clip.items()}, **cross, **buffers(config)}


@pytest.mark.parametrize("prefix", ["", "mps."])
def test_published_names_and_shapes_fill_the_whole_model(prefix: str) -> None:
    tensors = {f"{prefix}{name}": one for name, one in published().items()}
    # The published file of 4.42 GB holds 4 bytes for each.
    assert 4.415e9 < 4 * sum(tensor.numel() for tensor in tensors.values()) < 4.425e9
    mps.fill(mps.published_parts(), tensors, path=PATH)


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    tensors = published()
    del tensors["cross_model.layers.3.0.fn.to_q.weight"]
    fused = "cross_model.layers.0.1.fn.fused_attn_ff_proj.weight"
    tensors[fused] = torch.empty(100, 1024, device="meta")
    tensors["cross_model.layers.4.0.fn.to_q.weight"] = torch.empty(1, device="meta")
    with pytest.raises(WeightsUnreadable) as caught:
        mps.fill(mps.published_parts(), tensors, path=PATH)
    for fault in (
        "cross_model.layers.3.0.fn.to_q.weight is missing",
        f"{fused}.query is missing",
        f"{fused} is not known",
        "cross_model.layers.4.0.fn.to_q.weight is not known",
    ):
        assert fault in caught.value.message


def rotated(x: torch.Tensor) -> torch.Tensor:
    """Rotary positions as rotations of complex numbers: the pairs are the halves of the last axis."""
    places, width = x.shape[-2:]
    speed = 1 / 10000 ** (torch.arange(0, width, 2).double() / width)
    turn = torch.polar(
        torch.ones(places, width // 2).double(), torch.arange(places)[:, None] * speed
    )
    out = torch.complex(*x.chunk(2, -1)) * turn
    return torch.cat([out.real, out.imag], -1)


def attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: torch.Tensor | None
) -> torch.Tensor:
    """Heads that share one key and one value."""
    logits = torch.einsum("nhie,nje->nhij", query, key) / query.shape[-1] ** 0.5
    logits = logits if hidden is None else logits.masked_fill(hidden[:, None, None], -torch.inf)
    return torch.einsum("nhij,nje->nihe", logits.softmax(-1), value).flatten(-2)


def gated(x: torch.Tensor) -> torch.Tensor:
    value, gate = x.chunk(2, -1)
    return silu(gate) * value


def plain_cross(
    x: torch.Tensor, context: torch.Tensor, hidden: torch.Tensor, tensors: plain.Tensors
) -> torch.Tensor:
    inner, one = SMALL.heads * SMALL.head_width, SMALL.head_width
    for top in (f"cross_model.layers.{index}" for index in range(SMALL.layers)):
        name = f"{top}.0.fn"
        normed = plain.norm(x, tensors, f"{name}.norm", 1e-5)
        query = torch.unflatten(plain.linear(normed, tensors, f"{name}.to_q"), -1, (2, -1))
        key, value = plain.linear(context, tensors, f"{name}.to_kv").chunk(2, -1)
        out = attended(query.transpose(1, 2), key, value, hidden)
        fed = plain.linear(
            gated(plain.linear(normed, tensors, f"{name}.ff.0")), tensors, f"{name}.ff.2"
        )
        x = x + plain.linear(out, tensors, f"{name}.to_out") + fed
        name = f"{top}.1.fn"
        fused = plain.linear(
            plain.norm(x, tensors, f"{name}.norm", 1e-5), tensors, f"{name}.fused_attn_ff_proj"
        )
        query, key, value = fused[..., :inner], fused[..., inner : inner + one], None
        value = fused[..., inner + one : inner + 2 * one]
        turned = rotated(torch.unflatten(query, -1, (2, -1)).transpose(1, 2))
        out = attended(turned, rotated(key), value, None)
        fed = plain.linear(gated(fused[..., inner + 2 * one :]), tensors, f"{name}.ff_out.1")
        x = x + plain.linear(out, tensors, f"{name}.attn_out") + fed
    return x


def small_tensors() -> dict[str, torch.Tensor]:
    """Of the tiny CLIP and of a random cross-attention of float32 precision."""
    clip = CLIPModel.from_pretrained(checks.TINY_CLIP, dtype=torch.float32).state_dict()
    cross = {name: one.float() for name, one in plain.drawn(cross_shapes(SMALL)).items()}
    return {**{f"model.{name}": one for name, one in clip.items()}, **cross, **buffers(SMALL)}


def small_folder(folder: Path) -> Path:
    """Small tensors converted, with the tiny CLIP's tokenizer and processing."""
    with torch.device("meta"):
        clip = CLIPModel(CLIPModel.config_class.from_pretrained(checks.TINY_CLIP))
        parts = mps.Parts(clip, CrossAttention(SMALL))
    mps.fill(parts, small_tensors(), path=PATH)
    parts.clip.save_pretrained(folder)
    parts.cross.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(checks.TINY_CLIP / name, folder)
    return folder


def small_reward(folder: Path, threshold: float = THRESHOLD) -> Mps:
    row = checks.row(folder, condition=CONDITION, threshold=threshold)
    return Mps(row, {}, checks.compute())


def plain_scores(frames: torch.Tensor, threshold: float) -> torch.Tensor:
    model = CLIPModel.from_pretrained(checks.TINY_CLIP, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(checks.TINY_CLIP)
    tensors = {name: one.double() for name, one in small_tensors().items()}

    def encoded(text: str) -> tuple[torch.Tensor, torch.Tensor]:
        ids = tokenizer([text], padding="max_length", return_tensors="pt")["input_ids"]
        out = model.text_model(input_ids=ids)
        return model.text_projection(out.last_hidden_state), model.text_projection(
            out.pooler_output
        )

    condition, _ = encoded(CONDITION)
    pixels = CLIPImageProcessorPil.from_pretrained(checks.TINY_CLIP)(
        checks.images(frames), return_tensors="pt"
    )["pixel_values"]
    states = model.vision_model(pixel_values=pixels.double()).last_hidden_state
    images = torch.unflatten(model.visual_projection(states), 0, (2, 3))
    scores = []
    for image, prompt in zip(images, checks.PROMPTS, strict=True):
        tokens, embedding = encoded(prompt.prompt)
        product = torch.einsum("bid,bjd->bji", tokens, condition).amax(1)
        hidden = (product / product.max() <= threshold).expand(3, -1)
        assert (not hidden.any()) is (threshold < 0)
        seen = plain_cross(image, tokens.expand(3, -1, -1), hidden, tensors)[:, 0]
        cosine = (normalize(seen, dim=-1) * normalize(embedding, dim=-1)).sum(-1)
        scores.append(model.logit_scale.exp() * cosine.mean())
    return torch.stack(scores)


@pytest.mark.parametrize("threshold", [THRESHOLD, -100.0])
def test_scores_are_those_of_the_published_equations(tmp_path: Path, threshold: float) -> None:
    folder = small_folder(tmp_path)
    frames = checks.videos(32, 32)
    with torch.no_grad():
        found = small_reward(folder, threshold).score(frames, checks.PROMPTS)
        expected = plain_scores(frames, threshold)
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-5)
