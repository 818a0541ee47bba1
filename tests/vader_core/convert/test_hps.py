from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import conv2d, normalize, pad
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from tests.vader_core.convert import plain_layers as plain
from tests.vader_core.rewards import checks
from vader_core.convert import hps
from vader_core.convert.clip_vit_h import clip_vit_h, write_preprocessing
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.clip import ClipSimilarity

PATH = Path("HPS_v2.1_compressed.pt")


def block_shapes(prefix: str, width: int) -> plain.Shapes:
    """`ResidualAttentionBlock` of OpenCLIP: `nn.MultiheadAttention` between norms, then an MLP."""
    return {
        **plain.norm_shapes(f"{prefix}.ln_1", width),
        f"{prefix}.attn.in_proj_weight": (3 * width, width),
        f"{prefix}.attn.in_proj_bias": (3 * width,),
        **plain.linear_shapes(f"{prefix}.attn.out_proj", width, width),
        **plain.norm_shapes(f"{prefix}.ln_2", width),
        **plain.linear_shapes(f"{prefix}.mlp.c_fc", width, 4 * width),
        **plain.linear_shapes(f"{prefix}.mlp.c_proj", 4 * width, width),
    }


def published_shapes(
    text: tuple[int, int, int, int], vision: tuple[int, int, int, int], joint: int
) -> plain.Shapes:
    """OpenCLIP's `CLIP`: `text` is (width, layers, words, places), `vision` (width, layers, patch, patches)."""
    shapes: plain.Shapes = {
        "positional_embedding": (text[3], text[0]),
        "text_projection": (text[0], joint),
        "logit_scale": (),
        "token_embedding.weight": (text[2], text[0]),
        **plain.norm_shapes("ln_final", text[0]),
        "visual.class_embedding": (vision[0],),
        "visual.positional_embedding": (vision[3] + 1, vision[0]),
        "visual.proj": (vision[0], joint),
        "visual.conv1.weight": (vision[0], 3, vision[2], vision[2]),
        **plain.norm_shapes("visual.ln_pre", vision[0]),
        **plain.norm_shapes("visual.ln_post", vision[0]),
    }
    for index in range(text[1]):
        shapes |= block_shapes(f"transformer.resblocks.{index}", text[0])
    for index in range(vision[1]):
        shapes |= block_shapes(f"visual.transformer.resblocks.{index}", vision[0])
    return shapes


def published_vit_h() -> dict[str, torch.Tensor]:
    shapes = published_shapes((1024, 24, 49408, 77), (1280, 32, 14, 256), 1024)
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def test_published_names_and_shapes_fill_the_whole_model() -> None:
    tensors = published_vit_h()
    assert sum(tensor.numel() for tensor in tensors.values()) == 986_109_441
    model = hps.fill(clip_vit_h(), tensors, path=PATH)
    assert sum(one.numel() for one in model.state_dict().values()) == 986_109_441


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    tensors = published_vit_h()
    del tensors["visual.ln_post.bias"]
    tensors["text_projection"] = torch.empty(1024, 512, device="meta")
    tensors["score_predictor.layers.0.weight"] = torch.empty(1, device="meta")
    with pytest.raises(WeightsUnreadable) as caught:
        hps.fill(clip_vit_h(), tensors, path=PATH)
    for fault in (
        "visual.ln_post.bias is missing",
        r"text_projection.T is (512, 1024), not (1024, 1024)",
        "score_predictor.layers.0.weight is not known",
    ):
        assert fault in caught.value.message


def transformer(
    x: torch.Tensor, tensors: plain.Tensors, prefix: str, *, heads: int, causal: bool
) -> torch.Tensor:
    hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if causal else None
    for index in range(2):
        name = f"{prefix}transformer.resblocks.{index}"
        joint = (
            plain.norm(x, tensors, f"{name}.ln_1", 1e-5) @ tensors[f"{name}.attn.in_proj_weight"].T
        )
        query, key, value = (joint + tensors[f"{name}.attn.in_proj_bias"]).chunk(3, -1)
        seen = plain.attention(query, key, value, heads=heads, hidden=hidden)
        x = x + plain.linear(seen, tensors, f"{name}.attn.out_proj")
        fed = plain.linear(
            plain.norm(x, tensors, f"{name}.ln_2", 1e-5), tensors, f"{name}.mlp.c_fc"
        )
        x = x + plain.linear(plain.gelu(fed), tensors, f"{name}.mlp.c_proj")
    return x


def image_features(pixels_NCHW: torch.Tensor, tensors: plain.Tensors) -> torch.Tensor:
    patches = (
        conv2d(pixels_NCHW, tensors["visual.conv1.weight"], stride=8).flatten(2).transpose(1, 2)
    )
    first = tensors["visual.class_embedding"].expand(len(patches), 1, -1)
    x = torch.cat([first, patches], 1) + tensors["visual.positional_embedding"]
    x = plain.norm(x, tensors, "visual.ln_pre", 1e-5)
    x = transformer(x, tensors, "visual.", heads=2, causal=False)
    return plain.norm(x[:, 0], tensors, "visual.ln_post", 1e-5) @ tensors["visual.proj"]


def text_features(tokens: torch.Tensor, tensors: plain.Tensors) -> torch.Tensor:
    """`tokens` (N, 16) whose last word is the largest number."""
    x = tensors["token_embedding.weight"][tokens] + tensors["positional_embedding"]
    x = transformer(x, tensors, "", heads=2, causal=True)
    x = plain.norm(x, tensors, "ln_final", 1e-5)
    return x[torch.arange(len(tokens)), tokens.argmax(-1)] @ tensors["text_projection"]


def small_folder(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """The tensors converted, with the tiny CLIP's tokenizer; pictures of 32x32, padded."""
    common = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": "gelu"}
    text = {"hidden_size": 24, "intermediate_size": 96, "vocab_size": 193}
    words = {"max_position_embeddings": 16, "bos_token_id": 191, "eos_token_id": 192}
    vision = {"hidden_size": 32, "intermediate_size": 128, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(
        projection_dim=20,
        text_config={**common, **text, **words, "projection_dim": 20},
        vision_config={**common, **vision, "projection_dim": 20},
    )
    with torch.device("meta"):
        model = CLIPModel(config)
    hps.fill(model, tensors, path=PATH).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checks.TINY_CLIP / name, folder)
    write_preprocessing(folder, size={"longest_edge": 32}, do_pad=True)
    return folder


def test_scores_are_those_of_openclips_equations(tmp_path: Path) -> None:
    tensors = plain.drawn(published_shapes((24, 2, 193, 16), (32, 2, 8, 16), 20))
    folder = small_folder(tmp_path / "hps", tensors)
    frames = checks.videos(20, 32)
    mean, std = (
        torch.tensor(three, dtype=torch.float64).view(3, 1, 1)
        for three in (
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
        )
    )
    pixels = (pad(frames.flatten(0, 1), (0, 0, 6, 6)) - mean) / std
    tokens = AutoTokenizer.from_pretrained(folder)(
        [prompt.prompt for prompt in checks.PROMPTS],
        padding="max_length",
        max_length=16,
        return_tensors="pt",
    )["input_ids"]
    image_BFD = torch.unflatten(normalize(image_features(pixels, tensors), dim=-1), 0, (2, 3))
    text_BD = normalize(text_features(tokens, tensors), dim=-1)
    cosine_B = torch.einsum("bfd,bd->bf", image_BFD, text_BD).mean(1)
    for scale, factor in (("cosine", 1.0), ("logit", float(tensors["logit_scale"].exp()))):
        reward = ClipSimilarity(checks.row(folder, scale=scale), {}, checks.compute())
        found = reward.score(frames, checks.PROMPTS)
        assert torch.allclose(found, factor * cosine_B, atol=1e-9)


def test_folder_is_whole_or_absent(tmp_path: Path) -> None:
    torch.save({"state_dict": {"logit_scale": torch.zeros(())}}, tmp_path / "half.pt")
    out = tmp_path / "out"
    with pytest.raises(WeightsUnreadable, match=r"token_embedding\.weight is missing.*more"):
        hps.convert({"checkpoint": tmp_path / "half.pt", "tokenizer": checks.TINY_CLIP}, out)
    assert not out.exists()
