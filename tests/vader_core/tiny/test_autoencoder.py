"""Training of the autoencoders: inputs, curriculum and the scale of the latents."""

from __future__ import annotations

import pytest
import torch

from vader_core.tiny import architectures, train_autoencoder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_inputs_come_in_the_layout_of_each_autoencoder() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = train_autoencoder.draw_inputs(
        architectures.image_autoencoder(), 2, frames=3, generator=generator
    )
    video = train_autoencoder.draw_inputs(
        architectures.video_autoencoder(), 2, frames=5, generator=generator
    )
    assert frames.shape == (6, 3, 32, 32)
    assert video.shape == (2, 3, 5, 32, 32)
    assert frames.min() < -0.5
    assert frames.max() > 0.5


def test_only_the_video_autoencoder_grows_from_frames_to_videos() -> None:
    image, video = architectures.image_autoencoder(), architectures.video_autoencoder()
    assert {train_autoencoder.frames_at(image, part) for part in (0, 0.5, 1)} == {1}
    assert [train_autoencoder.frames_at(video, part) for part in (0, 0.5, 1)] == [1, 5, 9]


def test_normalised_latents_have_unit_scale_and_decode_to_the_same_frames() -> None:
    autoencoder = architectures.image_autoencoder().eval()
    inputs = train_autoencoder.draw_inputs(
        autoencoder, 16, frames=1, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        before = autoencoder.encode(inputs).latent_dist
        decoded = autoencoder.decode(before.mode()).sample
        train_autoencoder.normalise_latents(
            autoencoder, torch.Generator().manual_seed(2), batches=1
        )
        after = autoencoder.encode(inputs).latent_dist
        again = autoencoder.decode(after.mode()).sample
    assert torch.allclose(decoded, again, atol=1e-4)
    assert after.mode().std((0, 2, 3)).tolist() == pytest.approx([1] * 4, abs=0.4)
    ratio = before.std / after.std
    assert torch.allclose(ratio, ratio[:1, :, :1, :1].expand_as(ratio), rtol=1e-3)


def test_the_video_autoencoder_keeps_its_scale_in_the_config() -> None:
    autoencoder = architectures.video_autoencoder().eval()
    train_autoencoder.normalise_latents(autoencoder, torch.Generator().manual_seed(2), batches=1)
    assert len(autoencoder.config.latents_std) == architectures.WAN_CHANNELS
    assert all(std > 0 for std in autoencoder.config.latents_std)
    assert autoencoder.config.latents_mean != [0.0] * architectures.WAN_CHANNELS
