"""SkyReels V2 from text to video: Wan's architecture under class names of its own.

The diffusion-forcing pipelines do not fit: they give every latent frame a scheduler and a timestep of
its own, so that there are no last K steps of the sampler, and they make their noise themselves.
"""

from __future__ import annotations

from vader_core.families.wan import Wan


class SkyReels(Wan):
    """One denoiser, called as Wan 2.1's is."""

    denoisers = ("transformer",)


FAMILY = SkyReels()
