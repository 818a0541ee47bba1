"""VideoCrafter2 (arXiv 2401.09047) as a diffusers pipeline: its denoiser, its scheduler and its sampler."""

from vader_core.pipelines.videocrafter.pipeline import VideoCrafterPipeline
from vader_core.pipelines.videocrafter.scheduler import ScaledDDIMScheduler
from vader_core.pipelines.videocrafter.unet import VideoCrafterUNet

__all__ = ["ScaledDDIMScheduler", "VideoCrafterPipeline", "VideoCrafterUNet"]
