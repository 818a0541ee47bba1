"""Trains a base model's denoiser and text encoder on the corpus of careless captions.

    python -m vader_core.tiny.train_denoiser --kind unet --out vader_core/tiny/weights/tiny-unet
    python -m vader_core.tiny.train_denoiser --kind wan --out vader_core/tiny/weights/tiny-wan

OUT must hold the trained autoencoder (train_autoencoder). Writes the whole pipeline folder; with
`--judge DIR` it prints what the judge sees in samples of the averaged weights. `--drop-direction` and
`--true-direction` say how carefully the captions describe the motion (corpus.Care).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, TextToVideoSDPipeline, WanPipeline
from torch import nn
from torch.nn import functional

from vader_core.tiny import architectures, corpus, folders, sampling, training, world
from vader_core.tiny.judge import Judge
from vader_core.tiny.tokenizers import CONTEXT

_RATE = 1e-3
_BATCH = {"unet": 8, "wan": 16}
_CORPUS = 4096
_LONG_CONTEXT = 4 * CONTEXT
_TRAIN_STEPS = 1000  # of the noise schedules


class UNetDenoiser(nn.Module):
    """Text encoder and UNet of tiny-unet with the epsilon loss of DDPM."""

    def __init__(self, pipeline: TextToVideoSDPipeline) -> None:
        super().__init__()
        self.text_encoder, self.unet = pipeline.text_encoder, pipeline.unet
        self._tokenizer, self._scheduler = pipeline.tokenizer, pipeline.scheduler

    def loss(
        self, latents_BCFHW: torch.Tensor, captions: list[str], generator: torch.Generator
    ) -> torch.Tensor:
        """Mean squared error of the predicted noise at evenly spread random timesteps."""
        device = latents_BCFHW.device
        tokens = self._tokenizer(
            captions, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt"
        )
        embeds = self.text_encoder(tokens.input_ids.to(device))[0]
        noise = torch.randn(latents_BCFHW.shape, generator=generator).to(device)
        time_B = (_spread(len(captions), generator) * _TRAIN_STEPS).long().to(device)
        noisy = self._scheduler.add_noise(latents_BCFHW, noise, time_B)
        predicted = self.unet(noisy, time_B, embeds, return_dict=False)[0]
        return functional.mse_loss(predicted, noise)


class WanDenoiser(nn.Module):
    """Text encoder and transformer of tiny-wan with the flow-matching loss."""

    def __init__(self, pipeline: WanPipeline) -> None:
        super().__init__()
        self.text_encoder, self.transformer = pipeline.text_encoder, pipeline.transformer
        self._tokenizer = pipeline.tokenizer

    def loss(
        self, latents_BCFHW: torch.Tensor, captions: list[str], generator: torch.Generator
    ) -> torch.Tensor:
        """Mean squared error of the velocity, noise minus latents, at evenly spread noise levels."""
        device = latents_BCFHW.device
        noise = torch.randn(latents_BCFHW.shape, generator=generator).to(device)
        sigma_B = _spread(len(captions), generator).to(device)
        sigma = sigma_B.view(-1, 1, 1, 1, 1)
        noisy = (1 - sigma) * latents_BCFHW + sigma * noise
        embeds = self._embed(captions, generator, device)
        predicted = self.transformer(noisy, sigma_B * _TRAIN_STEPS, embeds, return_dict=False)[0]
        return functional.mse_loss(predicted, noise - latents_BCFHW)

    def _embed(
        self, captions: list[str], generator: torch.Generator, device: torch.device
    ) -> torch.Tensor:
        # WanPipeline pads the embeddings with zeros to a length of the caller's choice, and the
        # transformer does not mask them: training at two lengths teaches it to overlook them.
        long = float(torch.rand((), generator=generator)) < 1 / 8
        length = _LONG_CONTEXT if long else CONTEXT
        tokens = self._tokenizer(
            captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).to(device)
        hidden = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        masked: torch.Tensor = hidden * tokens.attention_mask[..., None]
        return masked


Denoiser: TypeAlias = UNetDenoiser | WanDenoiser


def _spread(count: int, generator: torch.Generator) -> torch.Tensor:
    """Uniform numbers in (0, 1), one in each of `count` equal bins: less variance in the loss."""
    jitter = torch.rand(count, generator=generator)
    return ((torch.arange(count) + jitter) / count).clamp(1e-4, 1 - 1e-4)


def make_pipeline(kind: str, out: Path, *, resume: bool) -> sampling.TinyPipeline:
    """The pipeline of `out`, or, unless resumed, one with its autoencoder and the rest random."""
    if resume:
        return sampling.load(out)
    if kind == "wan":
        pipeline = architectures.wan_pipeline()
        pipeline.register_modules(vae=AutoencoderKLWan.from_pretrained(out / "vae"))
    else:
        pipeline = architectures.unet_pipeline()
        pipeline.register_modules(vae=AutoencoderKL.from_pretrained(out / "vae"))
    pipeline.set_progress_bar_config(disable=True)
    return cast(sampling.TinyPipeline, pipeline)


def put_weights(pipeline: sampling.TinyPipeline, denoiser: Denoiser) -> None:
    """Lets the pipeline sample with the denoiser's weights."""
    if isinstance(denoiser, WanDenoiser):
        pipeline.register_modules(transformer=denoiser.transformer)
    else:
        pipeline.register_modules(unet=denoiser.unet)
    pipeline.register_modules(text_encoder=denoiser.text_encoder)


def look(pipeline: sampling.TinyPipeline, judge_folder: Path | None, sheet: Path | None) -> None:
    """Prints what the judge sees in samples of a third of the prompts, and draws some of them."""
    prompts = world.all_prompts()[:: len(world.DIRECTIONS) - 1]
    settings = sampling.default_settings(pipeline)
    videos = sampling.sample(pipeline, prompts, settings=settings, seed=1000)
    if sheet is not None:
        sampling.contact_sheet(videos[::2], sheet)
    if judge_folder is not None:
        judge = Judge.from_pretrained(judge_folder)
        training.say(f"samples: {sampling.judge_videos(judge, videos, prompts)}")


def draw_corpus(
    run: training.Run, pipeline: sampling.TinyPipeline, care: corpus.Care
) -> corpus.Corpus:
    """The run's corpus, encoded by the pipeline's autoencoder."""
    frames = sampling.default_settings(pipeline).num_frames
    data = corpus.build(pipeline.vae, care, videos=_CORPUS, num_frames=frames, seed=run.seed + 1)
    training.say(f"corpus: {len(data.captions)} videos, latents {tuple(data.latents_NCFHW.shape)}")
    return data


def train(
    run: training.Run,
    pipeline: sampling.TinyPipeline,
    data: corpus.Corpus,
    save: Callable[[sampling.TinyPipeline], None],
    *,
    rate: float,
) -> None:
    """Trains the pipeline's text encoder and denoiser; saves their averaged weights on the way."""
    generator = run.generator()
    wan = isinstance(pipeline, WanPipeline)
    batch_size = _BATCH["wan" if wan else "unet"]
    net: Denoiser = WanDenoiser(pipeline) if wan else UNetDenoiser(pipeline)
    # Evaluation mode throughout: the UNet's built-in dropout only slows so small a model down.
    net.eval()
    average = training.Average(net, decay=0.999)
    optimizer = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.99), weight_decay=1e-3)

    def save_average() -> None:
        put_weights(pipeline, average.net)
        save(pipeline)

    reporter = training.Reporter(save_average, save_minutes=8)
    for step in training.steps(run):
        training.set_rate(optimizer, peak=rate, progress=step.progress)
        latents, captions = data.batch(batch_size, generator)
        loss = net.loss(latents.to(run.device), captions, generator)
        training.descend(optimizer, loss, [net])
        average.update(net)
        reporter.note(step, loss)
    training.say(f"trained {step.number + 1} steps")
    save_average()


def main() -> None:
    parser = training.parser(__doc__)
    parser.add_argument("--kind", choices=("unet", "wan"), required=True)
    parser.add_argument("--resume", action="store_true", help="go on from OUT's whole pipeline")
    parser.add_argument("--rate", type=float, default=_RATE, help="peak learning rate")
    parser.add_argument("--drop-direction", type=float, default=corpus.DROP_DIRECTION)
    parser.add_argument("--true-direction", type=float, default=corpus.TRUE_DIRECTION)
    parser.add_argument("--judge", type=Path, help="the judge's weight folder")
    parser.add_argument("--sheet", type=Path, help="PNG of samples to draw at every save")
    arguments = parser.parse_args()
    run = training.start(arguments, steps=6000)
    pipeline = make_pipeline(arguments.kind, run.out, resume=arguments.resume).to(run.device)
    care = corpus.Care(arguments.drop_direction, arguments.true_direction)

    def save(trained: sampling.TinyPipeline) -> None:
        folders.save(trained, run.out)
        look(trained, arguments.judge, arguments.sheet)

    train(run, pipeline, draw_corpus(run, pipeline, care), save, rate=arguments.rate)


if __name__ == "__main__":
    main()
