"""Open-Sora 1.2, which diffusers lacks, as a diffusers pipeline."""

from vader_core.pipelines.open_sora.autoencoder import AutoencoderKLOpenSora
from vader_core.pipelines.open_sora.pipeline import OpenSoraPipeline
from vader_core.pipelines.open_sora.transformer import OpenSoraTransformer3DModel

__all__ = ["AutoencoderKLOpenSora", "OpenSoraPipeline", "OpenSoraTransformer3DModel"]
