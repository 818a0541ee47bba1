"""SkyReels V2 from image to video: Wan 2.1's image conditioning under class names of its own."""

from __future__ import annotations

from vader_core.families.wan_image import WanImage


class SkyReelsImage(WanImage):
    """One denoiser, a CLIP image encoder, one first image a call."""

    denoisers = ("transformer",)
    also_reads = frozenset()


FAMILY = SkyReelsImage()
