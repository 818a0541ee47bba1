"""Open-Sora 1.2 from its published weights: three repositories become one diffusers folder.

Sources on the hub: hpcai-tech/OpenSora-STDiT-v3 and hpcai-tech/OpenSora-VAE-v1.2 (a model.safetensors
each) and DeepFloyd/t5-v1_1-xxl, whose encoder conditions the model (pytorch_model-*.bin). Names and
shapes are those of the classes in github.com/hpcaitech/Open-Sora, tag v1.2.0, which load them.

The denoiser keeps its names. Of the autoencoder the spatial half loses one level of its names, and the
buffers `shift` and `scale` become the configuration's `latents_mean` and `latents_std`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from vader_core.convert.published import filled, read, refuse, staged
from vader_core.errors import WeightsUnreadable
from vader_core.pipelines.open_sora import (
    AutoencoderKLOpenSora,
    OpenSoraPipeline,
    OpenSoraTransformer3DModel,
)
from vader_core.weights import reading

SOURCES = {
    "transformer": "hpcai-tech/OpenSora-STDiT-v3, or its model.safetensors",
    "vae": "hpcai-tech/OpenSora-VAE-v1.2, or its model.safetensors",
    "text_encoder": "DeepFloyd/t5-v1_1-xxl: config.json with pytorch_model-*.bin or model*.safetensors",
    "tokenizer": "a folder with T5's tokenizer.json (or spiece.model, for which transformers needs sentencepiece)",
}
_SHIFT, _SCALE = "shift", "scale"
_EMBEDDING = "shared.weight"
# What a checkpoint of the whole T5 holds besides its encoder.
_NOT_ENCODER = re.compile(r"decoder\..+|lm_head\.weight|encoder\.embed_tokens\.weight")


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the pipeline folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    tokenizer = _tokenizer(sources["tokenizer"])
    text_encoder = _text_encoder(sources["text_encoder"])
    denoiser = transformer(_tensors(sources["transformer"]), path=sources["transformer"])
    vae = autoencoder(_tensors(sources["vae"]), path=sources["vae"])
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipeline = OpenSoraPipeline(tokenizer, text_encoder, denoiser, vae, scheduler)
    with staged(out) as folder:
        pipeline.save_pretrained(folder)


def transformer(
    tensors: Mapping[str, torch.Tensor], *, path: Path, **config: Any
) -> OpenSoraTransformer3DModel:
    """The denoiser with the published `tensors`, which were read from `path`.

    `config` is what differs from the published model's configuration.
    """
    with torch.device("meta"):
        model: OpenSoraTransformer3DModel = OpenSoraTransformer3DModel(**config)
    _fill(model, tensors, str, path=path, expected=SOURCES["transformer"])
    return model


def autoencoder(
    tensors: Mapping[str, torch.Tensor], *, path: Path, **config: Any
) -> AutoencoderKLOpenSora:
    """The autoencoder with the published `tensors`, which were read from `path`."""
    figures = {name: tensors[name] for name in (_SHIFT, _SCALE) if name in tensors}
    expected = SOURCES["vae"]
    refuse(
        path, [f"{n} is missing" for n in (_SHIFT, _SCALE) if n not in figures], expected=expected
    )
    with torch.device("meta"):
        model: AutoencoderKLOpenSora = AutoencoderKLOpenSora(
            latents_mean=figures[_SHIFT].flatten().tolist(),
            latents_std=figures[_SCALE].flatten().tolist(),
            **config,
        )
    weights = {name: tensor for name, tensor in tensors.items() if name not in figures}
    _fill(model, weights, _autoencoder_name, path=path, expected=expected)
    return model


def _autoencoder_name(name: str) -> str:
    return re.sub(r"^spatial_vae\.", "spatial_vae.module.", name)


def _text_encoder(folder: Path) -> T5EncoderModel:
    expected = SOURCES["text_encoder"]
    with reading(folder, needs=["config.json"], expected=expected):
        config = T5Config.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = T5EncoderModel(config)
    tensors = {
        name: tensor
        for name, tensor in _tensors(folder).items()
        if not _NOT_ENCODER.fullmatch(name)
    }
    _fill(model, tensors, _text_encoder_name, path=folder, expected=expected)
    model.tie_weights()
    return model


def _text_encoder_name(name: str) -> str:
    return _EMBEDDING if name == "encoder.embed_tokens.weight" else name


def _tokenizer(folder: Path) -> Any:
    with reading(folder, needs=[], expected=SOURCES["tokenizer"]):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint: those of the file `path`, or of all weight files in the folder `path`."""
    files = [path]
    if path.is_dir():
        files = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
    if not files:
        raise WeightsUnreadable(
            f"The folder {path} holds no weights.",
            hint="Expected model*.safetensors or pytorch_model*.bin in it.",
        )
    return {name: tensor for file in files for name, tensor in read(file).items()}


def _fill(
    model: Any,
    tensors: Mapping[str, torch.Tensor],
    published_name: Callable[[str], str],
    *,
    path: Path,
    expected: str,
) -> None:
    """Gives `model` the weights in `tensors`; refuses whatever is missing, misshapen or not known."""
    faults = filled(model, tensors, published_name)
    used = {published_name(name) for name in model.state_dict()}
    faults += [f"{name} is not known" for name in sorted(set(tensors) - used)]
    refuse(path, faults, expected=expected)
