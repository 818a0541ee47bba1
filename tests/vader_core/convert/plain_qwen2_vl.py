"""Qwen2-VL written out plainly on named tensors of the published checkpoints, and their names and shapes.

From arXiv 2409.12191 and 2407.10671: a vision transformer with rotary positions in two dimensions, whose
attention stays within a temporal patch; four neighbours merged into a token; a decoder with grouped
attention, rotary positions and gated layers. A layer whose LoRA is not merged adds it on the fly.

Letters: N patches or tokens, D width, H heads, E width of a head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import gelu, silu

from tests.vader_core.convert import plain_layers as plain
from tests.vader_core.rewards import small_judges

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
_GATED = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Sizes:
    """Of the text model (width, hidden, layers, heads, key heads, words) and of the vision model."""

    text: tuple[int, int, int, int, int, int]
    vision: tuple[int, int, int, int]  # width, layers, heads, patch
    expansion: int = 4

    def config(self, words: Mapping[str, int], sections: list[int]) -> dict[str, object]:
        """config.json as the hub has it: flat, in the form of transformers 4.45."""
        width, hidden, layers, heads, keys, vocabulary = self.text
        vision, depth, vision_heads, patch = self.vision
        return {
            "model_type": "qwen2_vl",
            "hidden_size": width,
            "intermediate_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "vocab_size": vocabulary + 7,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "rope_scaling": {"type": "mrope", "mrope_section": sections},
            "bos_token_id": None,
            "eos_token_id": None,
            "vision_config": {
                "depth": depth,
                "embed_dim": vision,
                "hidden_size": width,
                "num_heads": vision_heads,
                "mlp_ratio": self.expansion,
                "patch_size": patch,
                "spatial_patch_size": patch,
            },
            "image_token_id": words["<|image_pad|>"],
            "video_token_id": words["<|video_pad|>"],
        }


def base_folder(folder: Path, sizes: Sizes) -> Path:
    """What is taken of the model that a judge was made of."""
    folder.mkdir()
    words = small_judges.tokenizer()
    words.save_pretrained(folder)
    config = sizes.config(words.get_vocab(), [2, 2, 2])
    (folder / "config.json").write_text(json.dumps(config))
    own = small_judges.processor()
    fields = {"patch_size": sizes.vision[3], "merge_size": 2, "temporal_patch_size": 2}
    means = {"image_mean": list(own.image_mean), "image_std": list(own.image_std)}
    (folder / "preprocessor_config.json").write_text(json.dumps({**fields, **means}))
    return folder


def published_shapes(sizes: Sizes, lora: int = 0) -> plain.Shapes:
    """Names of `Qwen2VLForConditionalGeneration` of transformers 4.45, where `lora` is a rank those of PEFT."""
    width, hidden, layers, heads, keys, words = sizes.text
    edge = width // heads * keys
    root = "base_model.model." if lora else ""
    shapes: plain.Shapes = {
        f"{root}model.embed_tokens.weight": (words, width),
        f"{root}model.norm.weight": (width,),
        f"{root}lm_head.weight": (words, width),
    }
    for index in range(layers):
        layer = f"{root}model.layers.{index}"
        wide = {"q_proj": width, "k_proj": edge, "v_proj": edge, "o_proj": width}
        for name in _PROJECTIONS:
            shapes |= _tuned(
                f"{layer}.self_attn.{name}", width, wide[name], lora, bias=name != "o_proj"
            )
        for name in ("gate_proj", "up_proj"):
            shapes |= _tuned(f"{layer}.mlp.{name}", width, hidden, lora, bias=False)
        shapes |= _tuned(f"{layer}.mlp.down_proj", hidden, width, lora, bias=False)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{layer}.{name}.weight"] = (width,)
    return shapes | {f"{root}{name}": shape for name, shape in _vision_shapes(sizes).items()}


def _tuned(name: str, old: int, new: int, lora: int, *, bias: bool) -> plain.Shapes:
    base = f"{name}.base_layer" if lora else name
    shapes = plain.linear_shapes(base, old, new)
    if not bias:
        del shapes[f"{base}.bias"]
    if lora:
        shapes[f"{name}.lora_A.default.weight"] = (lora, old)
        shapes[f"{name}.lora_B.default.weight"] = (new, lora)
    return shapes


def _vision_shapes(sizes: Sizes) -> plain.Shapes:
    width, depth, _, patch = sizes.vision
    shapes: plain.Shapes = {"visual.patch_embed.proj.weight": (width, 3, 2, patch, patch)}
    for index in range(depth):
        block = f"visual.blocks.{index}"
        shapes |= plain.norm_shapes(f"{block}.norm1", width) | plain.norm_shapes(
            f"{block}.norm2", width
        )
        shapes |= plain.linear_shapes(f"{block}.attn.qkv", width, 3 * width)
        shapes |= plain.linear_shapes(f"{block}.attn.proj", width, width)
        shapes |= plain.linear_shapes(f"{block}.mlp.fc1", width, sizes.expansion * width)
        shapes |= plain.linear_shapes(f"{block}.mlp.fc2", sizes.expansion * width, width)
    shapes |= plain.norm_shapes("visual.merger.ln_q", width)
    shapes |= plain.linear_shapes("visual.merger.mlp.0", 4 * width, 4 * width)
    return shapes | plain.linear_shapes("visual.merger.mlp.2", 4 * width, sizes.text[0])


@dataclass(frozen=True)
class PlainModel:
    """The tensors of a checkpoint and what they mean; `scale` is that of a LoRA."""

    tensors: plain.Tensors
    sizes: Sizes
    root: str = ""
    scale: float = 0.0

    def states(
        self, patches: torch.Tensor, grid: tuple[int, int, int], ids: list[int], pad: int
    ) -> torch.Tensor:
        """The last states (N, D) of a conversation with one clip at the place of `pad`."""
        words = self.tensors[f"{self.root}model.embed_tokens.weight"]
        place = ids.index(pad)
        x = torch.cat([words[ids[:place]], self._vision(patches, grid), words[ids[place + 1 :]]])
        width, _, layers, heads, keys, _ = self.sizes.text
        turn = _angles(torch.arange(len(x)), width // heads, 1e6).repeat(1, 2)
        hidden = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        for index in range(layers):
            layer = f"{self.root}model.layers.{index}"
            seen = self._rms(x, f"{layer}.input_layernorm")
            query, key, value = (
                _heads(self._linear(seen, f"{layer}.self_attn.{name}"), count)
                for name, count in zip(_PROJECTIONS[:3], (heads, keys, keys), strict=True)
            )
            key, value = (one.repeat_interleave(heads // keys, 0) for one in (key, value))
            mixed = _attention(_turned(query, turn), _turned(key, turn), value, hidden)
            x = x + self._linear(mixed, f"{layer}.self_attn.o_proj")
            seen = self._rms(x, f"{layer}.post_attention_layernorm")
            gate, up = (self._linear(seen, f"{layer}.mlp.{name}") for name in _GATED[:2])
            x = x + self._linear(silu(gate) * up, f"{layer}.mlp.down_proj")
        return self._rms(x, f"{self.root}model.norm")

    def _vision(self, patches: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        width, depth, heads, _ = self.sizes.vision
        root = f"{self.root}visual"
        x = patches @ self.tensors[f"{root}.patch_embed.proj.weight"].flatten(1).T
        rows = torch.arange(grid[1]).view(-1, 1).expand(grid[1:])
        columns = torch.arange(grid[2]).expand(grid[1:])
        # Neighbours that are merged follow each other.
        places = [
            one.reshape(grid[1] // 2, 2, grid[2] // 2, 2).transpose(1, 2).flatten().repeat(grid[0])
            for one in (rows, columns)
        ]
        turn = torch.cat([_angles(one, width // heads // 2, 1e4) for one in places], 1).repeat(1, 2)
        moment = torch.arange(grid[0]).repeat_interleave(grid[1] * grid[2])
        hidden = moment[:, None] != moment
        for index in range(depth):
            block = f"{root}.blocks.{index}"
            seen = plain.norm(x, self.tensors, f"{block}.norm1", 1e-6)
            query, key, value = (
                _heads(part, heads) for part in self._linear(seen, f"{block}.attn.qkv").chunk(3, 1)
            )
            mixed = _attention(_turned(query, turn), _turned(key, turn), value, hidden)
            x = x + self._linear(mixed, f"{block}.attn.proj")
            wide = self._linear(
                plain.norm(x, self.tensors, f"{block}.norm2", 1e-6), f"{block}.mlp.fc1"
            )
            x = x + self._linear(wide * torch.sigmoid(1.702 * wide), f"{block}.mlp.fc2")
        four = plain.norm(x, self.tensors, f"{root}.merger.ln_q", 1e-6).reshape(-1, 4 * width)
        return self._linear(
            gelu(self._linear(four, f"{root}.merger.mlp.0")), f"{root}.merger.mlp.2"
        )

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        if f"{name}.lora_A.default.weight" not in self.tensors:
            return plain.linear(x, self.tensors, name)
        inner = x @ self.tensors[f"{name}.lora_A.default.weight"].T
        added = inner @ self.tensors[f"{name}.lora_B.default.weight"].T
        return plain.linear(x, self.tensors, f"{name}.base_layer") + self.scale * added

    def _rms(self, x: torch.Tensor, name: str) -> torch.Tensor:
        unit: torch.Tensor = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return unit * self.tensors[f"{name}.weight"]


def _angles(places_N: torch.Tensor, width: int, theta: float) -> torch.Tensor:
    return places_N.double()[:, None] * theta ** (-torch.arange(0, width, 2).double() / width)


def _heads(x: torch.Tensor, count: int) -> torch.Tensor:
    return x.view(len(x), count, -1).transpose(0, 1)


def _turned(x_HNE: torch.Tensor, angles_NE: torch.Tensor) -> torch.Tensor:
    first, second = x_HNE.chunk(2, -1)
    return x_HNE * angles_NE.cos() + torch.cat([-second, first], -1) * angles_NE.sin()


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    logits = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
    weights = logits.masked_fill(hidden, -torch.inf).softmax(-1)
    mixed: torch.Tensor = (weights @ value).transpose(0, 1).flatten(1)
    return mixed
