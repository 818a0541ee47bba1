"""Open-Sora 1.2's published files become a pipeline folder with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.vader_core.conformance import models_open_sora
from vader_core.convert import open_sora
from vader_core.errors import WeightsUnreadable
from vader_core.pipelines.open_sora import OpenSoraPipeline

FILE = Path("model.safetensors")
SMALL_VAE = {
    name: value
    for name, value in models_open_sora.vae().config.items()
    if not name.startswith("_") and not name.startswith("latents_")
}
SMALL_DENOISER = {
    name: value
    for name, value in models_open_sora.denoiser().config.items()
    if not name.startswith("_")
}
SHIFT, SCALE = [-0.5, 0.25, 0.0, 1.0], [4.0, 2.0, 2.5, 3.0]


def published_vae() -> dict[str, torch.Tensor]:
    """The tensors of a small autoencoder by the published names."""
    held = models_open_sora.stirred(models_open_sora.vae(), 7).state_dict()
    tensors = {
        name.replace("spatial_vae.", "spatial_vae.module."): tensor for name, tensor in held.items()
    }
    for name, figures in (("shift", SHIFT), ("scale", SCALE)):
        tensors[name] = torch.tensor(figures).view(1, -1, 1, 1, 1)
    return tensors


def published_denoiser() -> dict[str, torch.Tensor]:
    return dict(models_open_sora.stirred(models_open_sora.denoiser(), 8).state_dict())


def published_t5(folder: Path) -> None:
    """A text encoder in two pickled files, as DeepFloyd/t5-v1_1-xxl has it."""
    text_encoder = models_open_sora.pipeline().text_encoder
    text_encoder.config.save_pretrained(folder)
    tensors = dict(text_encoder.state_dict())
    names = sorted(tensors)
    for number, part in enumerate((names[:3], names[3:]), start=1):
        torch.save(
            {name: tensors[name] for name in part},
            folder / f"pytorch_model-{number:05}-of-00002.bin",
        )


def test_the_published_files_become_a_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classes' defaults are made small: the published sizes are checked where the classes are."""
    sources = {name: tmp_path / name for name in open_sora.SOURCES}
    for folder in sources.values():
        folder.mkdir()
    save_file(published_denoiser(), sources["transformer"] / "model.safetensors")
    save_file(published_vae(), sources["vae"] / "model.safetensors")
    published_t5(sources["text_encoder"])
    models_open_sora.pipeline().tokenizer.save_pretrained(sources["tokenizer"])
    for name, small in (("transformer", SMALL_DENOISER), ("autoencoder", SMALL_VAE)):
        make = getattr(open_sora, name)
        monkeypatch.setattr(
            open_sora,
            name,
            lambda tensors, *, path, make=make, small=small: make(tensors, path=path, **small),
        )
    open_sora.convert(sources, tmp_path / "out")
    pipeline = OpenSoraPipeline.from_pretrained(tmp_path / "out", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert_equal(pipeline.transformer.state_dict(), published_denoiser())
    vae = published_vae()
    held = {
        n.replace("spatial_vae.", "spatial_vae.module."): t
        for n, t in pipeline.vae.state_dict().items()
    }
    assert_equal(held, {name: vae[name] for name in vae if name not in ("shift", "scale")})
    assert list(pipeline.vae.config.latents_mean) == SHIFT
    assert list(pipeline.vae.config.latents_std) == SCALE
    assert_equal(
        pipeline.text_encoder.state_dict(), models_open_sora.pipeline().text_encoder.state_dict()
    )
    assert pipeline.scheduler.config.use_dynamic_shifting
    video = pipeline(
        "a circle", height=8, width=8, num_frames=5, num_inference_steps=1, output_type="pt"
    )
    assert video.frames.shape == (1, 5, 3, 8, 8)


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    tensors = published_denoiser()
    del tensors["rope.freqs"]
    tensors["t_block.1.bias"] = torch.zeros(3)
    tensors["pos_embed"] = torch.zeros(1)
    with pytest.raises(WeightsUnreadable) as refused:
        open_sora.transformer(tensors, path=FILE, **SMALL_DENOISER)
    for part in (
        "rope.freqs is missing",
        "t_block.1.bias is (3,), not (144,)",
        "pos_embed is not known",
    ):
        assert part in refused.value.message
    vae = published_vae()
    del vae["shift"]
    with pytest.raises(WeightsUnreadable, match="shift is missing"):
        open_sora.autoencoder(vae, path=FILE, **SMALL_VAE)


def test_a_checkpoint_of_another_size_is_refused() -> None:
    with pytest.raises(
        WeightsUnreadable, match=r"is not hpcai-tech/OpenSora-STDiT-v3.*and \d+ more"
    ):
        open_sora.transformer(published_denoiser(), path=FILE)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t5").mkdir()
    models_open_sora.pipeline().text_encoder.config.save_pretrained(tmp_path / "t5")
    tokenizer = models_open_sora.pipeline().tokenizer
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    sources = {
        "transformer": FILE,
        "vae": FILE,
        "text_encoder": tmp_path / "t5",
        "tokenizer": tmp_path / "tokenizer",
    }
    with pytest.raises(WeightsUnreadable, match="holds no weights"):
        open_sora.convert(sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def assert_equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
