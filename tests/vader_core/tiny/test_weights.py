"""The shipped weights: they load with the real classes, and are as good as their card says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import TextToVideoSDPipeline, WanPipeline
from safetensors.torch import load_file
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPModel,
    CLIPTokenizer,
    VideoMAEForVideoClassification,
    VJEPA2Model,
    YolosForObjectDetection,
)

from vader_core.tiny import (
    sampling,
    train_action,
    train_autoencoder,
    train_clip,
    train_detector,
    train_judge,
    train_looks,
    train_predictor,
    world,
)
from vader_core.tiny.folders import WEIGHTS_ROOT
from vader_core.tiny.judge import Judge
from vader_core.tiny.preference import PreferenceHead

_MEGABYTE = 1024**2
# Far from the seeds that the training scripts use.
_SEED = 5_000_000


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.from_pretrained(WEIGHTS_ROOT / "tiny-judge")


def test_weights_are_safetensors_in_half_precision_and_stay_small() -> None:
    files = [file for file in WEIGHTS_ROOT.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 28 * _MEGABYTE
    assert {file.suffix for file in files} <= {".json", ".safetensors"}
    for file in files:
        if file.suffix == ".safetensors":
            tensors = load_file(file).values()
            assert all(t.dtype == torch.half for t in tensors if t.is_floating_point()), file
            assert all(t.isfinite().all() for t in tensors), file


@pytest.mark.parametrize(
    ("name", "kind"), [("tiny-unet", TextToVideoSDPipeline), ("tiny-wan", WanPipeline)]
)
def test_base_models_load_as_their_own_pipeline_and_show_the_asked_shape(
    name: str, kind: type[sampling.TinyPipeline], judge: Judge
) -> None:
    pipeline = sampling.load(WEIGHTS_ROOT / name)
    assert isinstance(pipeline, kind)
    assert pipeline.vae.dtype == pipeline.text_encoder.dtype == torch.float32
    settings = sampling.default_settings(pipeline)
    prompts = world.all_prompts()[::6]
    videos = sampling.sample(pipeline, prompts, settings=settings, seed=_SEED)
    assert videos.shape == (12, settings.num_frames, 3, 32, 32)
    seen = sampling.judge_videos(judge, videos, prompts)
    assert seen.colour >= 0.75
    assert seen.shape >= 0.75


@pytest.mark.parametrize("name", ["tiny-unet", "tiny-wan"])
def test_autoencoders_rebuild_new_videos(name: str) -> None:
    autoencoder = sampling.load(WEIGHTS_ROOT / name).vae
    assert train_autoencoder.psnr(autoencoder, videos=16, seed=_SEED) > 24


def test_tiny_wan_overlooks_the_length_of_the_padding() -> None:
    pipeline = sampling.load(WEIGHTS_ROOT / "tiny-wan")
    short = sampling.WAN_SETTINGS
    extra = {**short.extra, "max_sequence_length": 48}
    long = sampling.Settings(short.num_frames, short.steps, short.guidance, extra)
    prompts = world.all_prompts()[:4]
    videos = [sampling.sample(pipeline, prompts, settings=s, seed=_SEED) for s in (short, long)]
    assert (videos[0] - videos[1]).abs().mean() < 0.05


def test_the_action_reward_knows_the_direction_of_new_videos() -> None:
    folder = WEIGHTS_ROOT / "tiny-videomae"
    model = VideoMAEForVideoClassification.from_pretrained(folder).eval()
    assert model.dtype == torch.float32
    assert tuple(model.config.id2label[index] for index in range(4)) == world.ACTION_LABELS
    for softened in (False, True):
        assert train_action.accuracy(model, videos=64, seed=_SEED, softened=softened) > 0.9
    processor = AutoImageProcessor.from_pretrained(folder)
    assert list(processor.image_mean) == list(processor.image_std) == [0.5, 0.5, 0.5]


def test_the_clip_reward_and_its_head_tell_good_frames_from_bad_ones() -> None:
    folder = WEIGHTS_ROOT / "tiny-clip"
    model = CLIPModel.from_pretrained(folder).eval()
    head = PreferenceHead.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, CLIPTokenizer)
    assert list(AutoImageProcessor.from_pretrained(folder).image_mean) == [0.5, 0.5, 0.5]
    assert train_clip.match_accuracy(model, tokenizer, frames=128, seed=_SEED) > 0.85
    shares = train_clip.preference_accuracy(model, head, tokenizer, pairs=256, seed=_SEED)
    assert min(shares.values()) > 0.75
    assert shares["all"] > 0.85


def test_the_detector_names_single_shapes_and_sees_nothing_on_empty_grounds() -> None:
    folder = WEIGHTS_ROOT / "tiny-yolos"
    model = YolosForObjectDetection.from_pretrained(folder).eval()
    assert model.dtype == torch.float32
    assert tuple(model.config.id2label[index] for index in range(3)) == world.SHAPES
    found = train_detector.quality(model, frames=256, seed=_SEED)
    assert found.named > 0.9
    assert found.empty > 0.95
    assert found.overlap > 0.8


def test_broken_time_surprises_the_predictor_more_than_smooth_motion() -> None:
    model = VJEPA2Model.from_pretrained(WEIGHTS_ROOT / "tiny-vjepa").eval()
    shares = train_predictor.order_accuracy(model, videos=64, seed=_SEED)
    assert min(shares.values()) > 0.9


def test_the_heads_on_looks_follow_taste_and_haze() -> None:
    looks = train_looks.from_pretrained(WEIGHTS_ROOT / "tiny-looks")
    explained = train_looks.explained(looks, frames=128, seed=_SEED)
    assert min(explained.values()) > 0.8


@pytest.mark.parametrize("softened", [False, True])
def test_the_judge_names_new_videos(judge: Judge, softened: bool) -> None:
    right = train_judge.accuracy(judge, videos=64, seed=_SEED, softened=softened)
    assert min(right) > 0.9


def test_the_judge_survives_saving_and_loading(judge: Judge, tmp_path: Path) -> None:
    judge.save_pretrained(tmp_path)
    again = Judge.from_pretrained(tmp_path)
    videos = world.draw_batch(2, generator=torch.Generator().manual_seed(1)).frames_BFCHW
    assert again.config == judge.config
    for first, second in zip(judge(videos), again(videos), strict=True):
        assert torch.equal(first, second)
