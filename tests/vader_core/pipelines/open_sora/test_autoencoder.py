"""The video autoencoder computes what its description says, and holds the tensors that were published."""

from __future__ import annotations

import pytest
import torch

from tests.vader_core.conformance.models_open_sora import stirred, vae
from tests.vader_core.pipelines.open_sora import published
from vader_core.pipelines.open_sora import AutoencoderKLOpenSora

# Facts of hpcai-tech/OpenSora-VAE-v1.2's model.safetensors, its buffers shift and scale left out.
PUBLISHED_NUMBERS, PUBLISHED_NUMBERS_OF_DECODERS = 393_341_015 - 8, 214_756_143
GROUPS, HALVES = 2, [False, True]


def residual_shapes(place: str, into: int, out: int) -> dict[str, list[int]]:
    shapes = {
        f"{place}.norm1.weight": [into],
        f"{place}.norm1.bias": [into],
        f"{place}.conv1.conv.weight": [out, into, 3, 3, 3],
        f"{place}.norm2.weight": [out],
        f"{place}.norm2.bias": [out],
        f"{place}.conv2.conv.weight": [out, out, 3, 3, 3],
    }
    return shapes if into == out else shapes | {f"{place}.conv3.conv.weight": [out, into, 1, 1, 1]}


def published_temporal_shapes() -> dict[str, list[int]]:
    """Names and shapes below `temporal_vae` in the published file, from the published constructors."""
    widths = [128, 256, 256, 512]
    shapes = {
        "encoder.conv_in.conv.weight": [128, 4, 3, 3, 3],
        "encoder.conv2.conv.weight": [8, 512, 1, 1, 1],
        "encoder.conv2.conv.bias": [8],
        "quant_conv.conv.weight": [8, 8, 1, 1, 1],
        "quant_conv.conv.bias": [8],
        "post_quant_conv.conv.weight": [4, 4, 1, 1, 1],
        "post_quant_conv.conv.bias": [4],
        "decoder.conv1.conv.weight": [512, 4, 3, 3, 3],
        "decoder.conv1.conv.bias": [512],
        "decoder.conv_out.conv.weight": [4, 128, 3, 3, 3],
        "decoder.conv_out.conv.bias": [4],
    }
    for half, last in (("encoder", 512), ("decoder", 128)):
        shapes |= {f"{half}.norm1.weight": [last], f"{half}.norm1.bias": [last]}
        for index in range(4):
            shapes |= residual_shapes(f"{half}.res_blocks.{index}", 512, 512)
    # Going down a level starts from the width above, going up from the width below.
    for half, before in (("encoder", [128, *widths]), ("decoder", [*widths[1:], 512])):
        for level, width in enumerate(widths):
            for index in range(4):
                into = width if index else before[level]
                shapes |= residual_shapes(f"{half}.block_res_blocks.{level}.{index}", into, width)
    for level in (1, 2):
        for half, factor, width in (
            ("encoder", 1, widths[level]),
            ("decoder", 2, widths[level + 1]),
        ):
            place = f"{half}.conv_blocks.{level}.conv"
            shapes[f"{place}.weight"] = [factor * width, width, 3, 3, 3]
            shapes[f"{place}.bias"] = [factor * width]
    return shapes


def test_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        model = AutoencoderKLOpenSora()
    temporal = {
        name: list(tensor.shape) for name, tensor in model.temporal_vae.state_dict().items()
    }
    assert temporal == published_temporal_shapes()
    numbers = {name: tensor.numel() for name, tensor in model.state_dict().items()}
    assert sum(numbers.values()) == PUBLISHED_NUMBERS
    decoders = [n for name, n in numbers.items() if ".decoder." in name or ".post_quant" in name]
    assert sum(decoders) == PUBLISHED_NUMBERS_OF_DECODERS
    assert model.config.latents_mean == (-0.10, 0.34, 0.27, 0.98)
    assert model.config.latents_std == (3.85, 2.32, 2.33, 3.06)


@pytest.mark.parametrize("frames", [1, 4, 5])
def test_temporal_halves_equal_the_plain_evaluation(frames: int) -> None:
    temporal = stirred(vae(), 2).double().temporal_vae
    weights = temporal.state_dict()
    images = torch.randn(2, 4, frames, 3, 2, dtype=torch.float64)
    moments = temporal.moments(images)
    assert moments.shape[2] == temporal.latent_frames(frames) == -(-frames // 2)
    latents = torch.randn(2, 4, moments.shape[2], 3, 2, dtype=torch.float64)
    decoded = temporal.decode(latents, frames)
    assert decoded.shape == images.shape
    for video in range(2):
        plain = published.temporal_moments(weights, images[video], halves=HALVES, groups=GROUPS)
        assert torch.allclose(moments[video], plain, atol=1e-10)
        plain = published.temporal_decoded(
            weights, latents[video], frames, doubles=HALVES, groups=GROUPS
        )
        assert torch.allclose(decoded[video], plain, atol=1e-10)


def test_the_published_sizes_give_5_latent_frames_for_17_frames() -> None:
    with torch.device("meta"):
        model = AutoencoderKLOpenSora()
    assert [model.latent_frames(n) for n in (1, 4, 5, 17, 51, 102, 408)] == [
        1,
        1,
        2,
        5,
        15,
        30,
        120,
    ]
    assert [model.frames(n) for n in (1, 2, 5, 15, 16, 30)] == [1, 5, 17, 51, 52, 102]
    assert model.scale_factor_spatial == 8


def test_decoding_goes_window_by_window() -> None:
    """12 frames of 7 latents: windows of 5, 5 and 2 frames that know nothing of each other."""
    model = stirred(vae(), 2)
    latents = torch.randn(1, 4, 7, 2, 3)
    video = model.decode(latents, 12).sample
    assert video.shape == (1, 3, 12, 8, 12)
    changed = latents.clone()
    changed[:, :, 3:6] += 1
    other = model.decode(changed, 12).sample
    same = [torch.equal(video[:, :, i], other[:, :, i]) for i in range(12)]
    assert same == [True] * 5 + [False] * 5 + [True] * 2
    images = model.decode_window(latents[:, :, :3], 5)[0].transpose(0, 1)
    assert torch.allclose(
        video[0, :, :5],
        model.spatial_vae.decode(images / 0.18215).sample.transpose(0, 1),
        atol=1e-5,
    )


def test_encoding_goes_window_by_window_and_repeats_with_a_generator() -> None:
    model = stirred(vae(), 2)
    video = torch.rand(2, 3, 12, 8, 8) * 2 - 1
    posteriors = [
        model.encode(video, generator=torch.Generator().manual_seed(5)).latent_dist
        for _ in range(2)
    ]
    assert torch.equal(posteriors[0].mean, posteriors[1].mean)
    assert posteriors[0].mean.shape == (2, 4, 7, 2, 2)
    assert model.decode(posteriors[0].mean, 12).sample.shape == video.shape
    assert model.decode(posteriors[0].mean, return_dict=False)[0].shape[2] == model.frames(7) == 11
