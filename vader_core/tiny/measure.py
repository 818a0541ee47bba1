"""Measures every figure of the card (README.md) anew and prints it as JSON.

    python -m vader_core.tiny.measure [--quick] [--sheets DIR]

Shares lie in [0, 1], PSNR is in dB, times are in seconds on one CPU thread.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline
from transformers import (
    CLIPModel,
    CLIPTokenizer,
    VideoMAEForVideoClassification,
    VJEPA2Model,
    YolosForObjectDetection,
)

from vader_core.tiny import (
    corpus,
    sampling,
    train_action,
    train_autoencoder,
    train_clip,
    train_detector,
    train_judge,
    train_looks,
    train_predictor,
    training,
    world,
)
from vader_core.tiny.folders import WEIGHTS_ROOT
from vader_core.tiny.judge import Judge
from vader_core.tiny.preference import PreferenceHead

# Far from the seeds that the training scripts use, so that no measured video was trained on.
_SEED = 9_000_000
_TIMED_VIDEOS = 8


def measure_rewards(*, videos: int) -> dict[str, Any]:
    """Held-out accuracy of the action reward, the CLIP reward and the preference head."""
    action = VideoMAEForVideoClassification.from_pretrained(WEIGHTS_ROOT / "tiny-videomae").eval()
    clip = CLIPModel.from_pretrained(WEIGHTS_ROOT / "tiny-clip").eval()
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS_ROOT / "tiny-clip")
    head = PreferenceHead.from_pretrained(WEIGHTS_ROOT / "tiny-clip")
    return {
        "videos": videos,
        "action": {
            kind: train_action.accuracy(action, videos=videos, seed=_SEED, softened=softened)
            for kind, softened in (("sharp", False), ("softened", True))
        },
        "caption_among_18": train_clip.match_accuracy(clip, tokenizer, frames=videos, seed=_SEED),
        "preference": train_clip.preference_accuracy(
            clip, head, tokenizer, pairs=4 * videos, seed=_SEED
        ),
    }


def measure_more_rewards(*, videos: int) -> dict[str, Any]:
    """Held-out quality of the detector, the predictor of hidden moments, and the heads on looks."""
    detector = YolosForObjectDetection.from_pretrained(WEIGHTS_ROOT / "tiny-yolos").eval()
    predictor = VJEPA2Model.from_pretrained(WEIGHTS_ROOT / "tiny-vjepa").eval()
    looks = train_looks.from_pretrained(WEIGHTS_ROOT / "tiny-looks")
    return {
        "detector": train_detector.quality(detector, frames=videos, seed=_SEED)._asdict(),
        "smooth_before_broken": train_predictor.order_accuracy(
            predictor, videos=videos, seed=_SEED
        ),
        "explained_variance": train_looks.explained(looks, frames=videos, seed=_SEED),
    }


def measure_judge(judge: Judge, *, videos: int) -> dict[str, Any]:
    """The judge's accuracy (colour, shape, direction) on drawn and softened videos."""
    return {
        kind: train_judge.accuracy(judge, videos=videos, seed=_SEED, softened=softened)
        for kind, softened in (("sharp", False), ("softened", True))
    }


def measure_base(
    name: str, judge: Judge, *, rounds: int, videos: int, sheets: Path | None
) -> dict[str, Any]:
    """Autoencoder, judged samples of every prompt, and times of one base model."""
    pipeline = sampling.load(WEIGHTS_ROOT / name)
    settings = sampling.default_settings(pipeline)
    prompts = world.all_prompts() * rounds
    begun = time.monotonic()
    samples = sampling.sample(pipeline, prompts, settings=settings, seed=_SEED)
    seconds = (time.monotonic() - begun) / len(prompts)
    if sheets is not None:
        sampling.contact_sheet(samples[: len(world.all_prompts())][::5], sheets / f"{name}.png")
    drawn = world.draw_batch(
        videos, generator=torch.Generator().manual_seed(_SEED), num_frames=settings.num_frames
    )
    rebuilt = corpus.rebuild(pipeline.vae, drawn.frames_BFCHW)
    drawn_prompts = [world.caption(scene) for scene in drawn.scenes]
    return {
        "settings": asdict(settings),
        "samples": len(prompts),
        "accuracy": asdict(sampling.judge_videos(judge, samples, prompts)),
        "judge_on_reconstructions": asdict(sampling.judge_videos(judge, rebuilt, drawn_prompts)),
        "autoencoder_psnr_db": train_autoencoder.psnr(pipeline.vae, videos=videos, seed=_SEED),
        "seconds_per_video": seconds,
        **_forward_seconds(pipeline, drawn.frames_BFCHW[:_TIMED_VIDEOS], settings),
    }


@torch.no_grad()
def _forward_seconds(
    pipeline: sampling.TinyPipeline, frames_BFCHW: torch.Tensor, settings: sampling.Settings
) -> dict[str, float]:
    """Seconds of one denoiser forward for 8 videos (best of 5: the least disturbed one)."""
    latents = corpus.encode(pipeline.vae, frames_BFCHW)
    wan = isinstance(pipeline, WanPipeline)
    denoiser = pipeline.transformer if wan else pipeline.unet
    length = settings.extra.get("max_sequence_length", pipeline.tokenizer.model_max_length)
    width = pipeline.text_encoder.config.hidden_size
    embeds = torch.randn(len(latents), length, width)
    timestep = torch.full((len(latents),), 500)
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        denoiser(latents, timestep, embeds, return_dict=False)
        taken.append(time.perf_counter() - begun)
    return {"denoiser_forward_seconds": min(taken)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer videos, rougher figures")
    parser.add_argument("--sheets", type=Path, help="folder for PNG contact sheets of samples")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rounds, videos = (1, 128) if arguments.quick else (4, 512)
    judge = Judge.from_pretrained(WEIGHTS_ROOT / "tiny-judge")
    figures = {
        "judge": measure_judge(judge, videos=videos),
        "rewards": measure_rewards(videos=videos),
        "more_rewards": measure_more_rewards(videos=videos),
        **{
            name: measure_base(name, judge, rounds=rounds, videos=videos, sheets=arguments.sheets)
            for name in ("tiny-unet", "tiny-wan")
        },
    }
    training.say(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
