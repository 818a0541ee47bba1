"""The denoiser's own parts: the frame rate's embedding, and the blocks against plain equations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.vader_core.pipelines.videocrafter import published
from tests.vader_core.pipelines.videocrafter.small import SMALL, small_parts
from vader_core.convert.videocrafter2 import fill
from vader_core.pipelines.videocrafter import VideoCrafterUNet


@pytest.fixture(scope="module")
def weights() -> published.Weights:
    return published.random_weights(SMALL, seed=1)


@pytest.fixture(scope="module")
def unet(weights: published.Weights) -> VideoCrafterUNet:
    return fill(small_parts(), weights, path=Path("model.ckpt")).unet.eval()


@pytest.fixture(scope="module")
def own(weights: published.Weights) -> published.Weights:
    return published.part(weights, "model.diffusion_model.")


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_embeddings_of_timestep_and_frame_rate_are_added(
    unet: VideoCrafterUNet, own: published.Weights
) -> None:
    sinusoids = unet.time_proj(torch.tensor([481, 481])).double()
    got = unet.time_embedding(sinusoids, torch.tensor([28, 8]))
    time = published.embedding(own, "time_embed", 481, SMALL.channels)
    rates = [published.embedding(own, "fps_embedding", fps, SMALL.channels) for fps in (28, 8)]
    close(got, time + torch.stack(rates))


def test_temporal_attention_is_the_published_one(
    unet: VideoCrafterUNet, own: published.Weights
) -> None:
    images = randn(6, 16, 3, 4)
    got = unet.down_blocks[1].temp_attentions[0](images, num_frames=3, return_dict=False)[0]
    close(got, published.temporal(own, "input_blocks.4.2", images, 2, SMALL))


def test_residual_block_and_temporal_convolution_are_the_published_ones(
    unet: VideoCrafterUNet, own: published.Weights
) -> None:
    images, emb = randn(6, 8, 3, 4), randn(32)
    block = unet.down_blocks[1]
    got = block.temp_convs[0](block.resnets[0](images, emb.expand(6, -1)), num_frames=3)
    close(got, published.res_block(own, "input_blocks.4.0", images, emb, 2, SMALL.groups))


def test_each_video_can_have_its_own_frame_rate(unet: VideoCrafterUNet) -> None:
    video, context = (
        randn(1, 4, 2, 8, 8).expand(2, -1, -1, -1, -1),
        randn(1, 6, 12).expand(2, -1, -1),
    )
    with torch.no_grad():
        mixed = unet(video, 481, context, torch.tensor([8, 28]), return_dict=False)[0]
        slow, fast = (unet(video, 481, context, fps, return_dict=False)[0] for fps in (8, 28))
    close(mixed, torch.stack([slow[0], fast[1]]))
    assert (slow - fast).abs().max() > 1e-3


def test_a_denoiser_can_be_made_from_its_configuration(unet: VideoCrafterUNet) -> None:
    again = VideoCrafterUNet.from_config(unet.config)
    assert {name: one.shape for name, one in again.state_dict().items()} == {
        name: one.shape for name, one in unet.state_dict().items()
    }


def test_the_published_size_has_1_4_billion_weights() -> None:
    with torch.device("meta"):
        unet = VideoCrafterUNet()
    assert round(sum(one.numel() for one in unet.parameters()) / 1e6) == 1413
