"""The pretraining corpus of the tiny base models: encoded videos with captions that often lie.

As in captions scraped from the web, colour and shape are right but the motion is described badly:
some captions leave the direction out, and most of the others name one that has nothing to do with
the video. A base model trained on them moves its shapes cleanly, but seldom the way it was asked to:
the fault that alignment with the action reward is there to mend.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan

from vader_core.tiny import world

DROP_DIRECTION = 0.25
TRUE_DIRECTION = 0.15
DROP_CAPTION = 0.1

_CHUNK = 32


@dataclass(frozen=True)
class Corpus:
    """Scaled latents (N, C, F, H, W), on the CPU, with one caption each."""

    latents_NCFHW: torch.Tensor
    captions: list[str]

    def batch(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, list[str]]:
        """Random latents and their captions, a tenth of them empty for classifier-free guidance."""
        picked = torch.randint(len(self.captions), (count,), generator=generator)
        dropped = torch.rand(count, generator=generator) < DROP_CAPTION
        captions = [
            "" if drop else self.captions[index]
            for index, drop in zip(picked.tolist(), dropped.tolist(), strict=True)
        ]
        return self.latents_NCFHW[picked], captions


@dataclass(frozen=True)
class Care:
    """How carefully the captions describe the motion: two parts in [0, 1].

    `drop_direction` of them leave it out. Of the others, `true_direction` look at the video, and the
    rest name any of the four directions.
    """

    drop_direction: float = DROP_DIRECTION
    true_direction: float = TRUE_DIRECTION


def careless_caption(scene: world.Scene, care: Care, generator: torch.Generator) -> str:
    """A caption with the right colour and shape, and a direction that is often absent or random."""
    drop, truth = torch.rand(2, generator=generator).tolist()
    any_index = int(torch.randint(len(world.DIRECTIONS), (), generator=generator))
    if drop < care.drop_direction:
        return world.caption(world.Scene(scene.colour, scene.shape, None))
    direction = scene.direction if truth < care.true_direction else world.DIRECTION_NAMES[any_index]
    return world.caption(world.Scene(scene.colour, scene.shape, direction))


@torch.no_grad()
def encode(
    autoencoder: AutoencoderKL | AutoencoderKLWan, frames_BFCHW: torch.Tensor
) -> torch.Tensor:
    """Scaled latents (B, C, F, H, W) of frames in [0, 1], as the pipelines' denoisers see them."""
    frames = frames_BFCHW.to(autoencoder.device) * 2 - 1
    if isinstance(autoencoder, AutoencoderKLWan):
        latents = autoencoder.encode(frames.transpose(1, 2)).latent_dist.mode()
        shape = (1, -1, 1, 1, 1)
        mean = torch.tensor(autoencoder.config.latents_mean, device=latents.device).view(shape)
        std = torch.tensor(autoencoder.config.latents_std, device=latents.device).view(shape)
        whitened: torch.Tensor = (latents - mean) / std
        return whitened
    flat = autoencoder.encode(frames.flatten(0, 1)).latent_dist.mode()
    stacked = flat.unflatten(0, frames.shape[:2]).transpose(1, 2)
    scaled: torch.Tensor = stacked * autoencoder.config.scaling_factor
    return scaled


@torch.no_grad()
def rebuild(
    autoencoder: AutoencoderKL | AutoencoderKLWan, frames_BFCHW: torch.Tensor
) -> torch.Tensor:
    """The autoencoder's reconstruction of frames in [0, 1], in the same layout."""
    video = isinstance(autoencoder, AutoencoderKLWan)
    inputs = frames_BFCHW.transpose(1, 2) if video else frames_BFCHW.flatten(0, 1)
    latents = autoencoder.encode(inputs * 2 - 1).latent_dist.mode()
    output = (autoencoder.decode(latents).sample.clamp(-1, 1) + 1) / 2
    rebuilt: torch.Tensor = (
        output.transpose(1, 2) if video else output.unflatten(0, frames_BFCHW.shape[:2])
    )
    return rebuilt


def build(
    autoencoder: AutoencoderKL | AutoencoderKLWan,
    care: Care,
    *,
    videos: int,
    num_frames: int,
    seed: int,
) -> Corpus:
    """Draws, captions and encodes `videos` videos."""
    generator = torch.Generator().manual_seed(seed)
    latents, captions = [], []
    for begin in range(0, videos, _CHUNK):
        count = min(_CHUNK, videos - begin)
        batch = world.draw_batch(count, generator=generator, num_frames=num_frames)
        latents.append(encode(autoencoder, batch.frames_BFCHW).cpu())
        captions += [careless_caption(scene, care, generator) for scene in batch.scenes]
    return Corpus(torch.cat(latents), captions)
