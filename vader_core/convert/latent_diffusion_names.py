"""The names that latent diffusion checkpoints give to a model's tensors, by diffusers' and transformers' names.

Sources: the modules of github.com/AILab-CVC/VideoCrafter (lvdm/modules/networks/openaimodel3d.py and
ae_modules.py, which follow github.com/CompVis/latent-diffusion) and OpenCLIP's text transformer
(github.com/mlfoundations/open_clip, src/open_clip/transformer.py).
"""

from __future__ import annotations

import re

# Inside a residual block of the UNet.
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "time_embedding.fps_embedding.linear_1": "fps_embedding.0",
    "time_embedding.fps_embedding.linear_2": "fps_embedding.2",
    "transformer_in": "init_attn.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
# The place of a part in its block of the checkpoint; a residual block holds its temporal convolution.
_PLACES = {"resnets": 0, "temp_convs": 0, "attentions": 1, "temp_attentions": 2}
_AUTOENCODER_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_TEXT_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
}
_TEXT_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def unet_name(name: str, *, layers_per_block: int) -> str:
    """The published name of a tensor of `VideoCrafterUNet`."""
    found = re.fullmatch(r"(down|up|mid)_block(?:s\.(\d+))?\.(\w+)\.(\d+)\.(.+)", name)
    if found is None:
        return _renamed(name, _UNET_ENDS)
    side, level, part, index = found[1], int(found[2] or 0), found[3], int(found[4])
    rest = _unet_rest(part, found[5])
    if side == "mid":
        # Residual block, spatial attention, temporal attention, residual block.
        place = 3 * index if part in {"resnets", "temp_convs"} else _PLACES[part]
        return f"middle_block.{place}.{rest}"
    if side == "down":
        # The first block is the convolution; every level ends with its halving of the size.
        first = 1 + level * (layers_per_block + 1)
        if part == "downsamplers":
            return f"input_blocks.{first + layers_per_block}.0.{rest}"
        return f"input_blocks.{first + index}.{_PLACES[part]}.{rest}"
    first = level * (layers_per_block + 1)
    if part == "upsamplers":
        # It follows the last layer's own parts; the first level of this side has no attentions.
        place = 1 if level == 0 else 3
        return f"output_blocks.{first + layers_per_block}.{place}.{rest}"
    return f"output_blocks.{first + index}.{_PLACES[part]}.{rest}"


def _unet_rest(part: str, rest: str) -> str:
    if part == "resnets":
        return _renamed(rest, _RESNET)
    if part == "temp_convs":
        return f"temopral_conv.{rest}"  # the published spelling
    return rest.replace("conv.", "op.") if part == "downsamplers" else rest


def autoencoder_name(name: str, *, levels: int) -> str:
    """The published name of a tensor of `AutoencoderKL`."""
    side, _, rest = name.partition(".")
    if side not in {"encoder", "decoder"}:
        return name
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", rest)
    if found is not None:
        # The decoder's levels are published from the largest size to the smallest.
        level = int(found[2]) if found[1] == "down" else levels - 1 - int(found[2])
        if found[3] == "resnets":
            return f"{side}.{found[1]}.{level}.block.{found[4]}.{_shortcut(found[5])}"
        return f"{side}.{found[1]}.{level}.{found[1]}sample.{found[5]}"
    found = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", rest)
    if found is None:
        return f"{side}.{rest.replace('conv_norm_out', 'norm_out')}"
    number = int(found[2]) + 1
    if found[1] == "resnets":
        return f"{side}.mid.block_{number}.{_shortcut(found[3])}"
    return f"{side}.mid.attn_{number}.{_renamed(found[3], _AUTOENCODER_ATTENTION)}"


def _shortcut(rest: str) -> str:
    return rest.replace("conv_shortcut", "nin_shortcut")


def text_encoder_name(name: str) -> str:
    """The published name of a tensor of `CLIPTextModel`, whose query, key and value are one tensor there.

    Their shares are named by `split_attention`.
    """
    found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", name)
    if found is None:
        return _renamed(name, _TEXT_ENDS)
    part = re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", found[2])
    rest = f"attn.in_proj_{part[2]}.{part[1]}" if part else _renamed(found[2], _TEXT_LAYER)
    return f"transformer.resblocks.{found[1]}.{rest}"


def split_attention(name: str) -> list[str]:
    """The names of the thirds of an OpenCLIP tensor `name`; none where it is not a joint projection."""
    return [f"{name}.{part}" for part in "qkv"] if "attn.in_proj_" in name else []


def _renamed(name: str, table: dict[str, str]) -> str:
    """`name`, its longest beginning that `table` knows replaced."""
    for old in sorted(table, key=len, reverse=True):
        if name == old or name.startswith(f"{old}."):
            return table[old] + name[len(old) :]
    return name
