"""Trains the autoencoder of tiny-unet (frames) or tiny-wan (videos, causal in time).

    python -m vader_core.tiny.train_autoencoder --kind unet --out vader_core/tiny/weights/tiny-unet

Writes OUT/vae and prints the PSNR of reconstructed, newly drawn videos. Every channel
of the latents ends with mean 0 and variance 1.
"""

from __future__ import annotations

import copy
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from torch import nn

from vader_core.tiny import architectures, folders, training, world

Autoencoder: TypeAlias = AutoencoderKL | AutoencoderKLWan

_RATE = 2e-3
_RESUMED_RATE = 6e-4
_KL_WEIGHT = 1e-4
_FRAMES_PER_STEP = 40
_WAN_FRAMES = 9


def draw_inputs(
    autoencoder: Autoencoder,
    count: int,
    *,
    frames: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """New videos in [-1, 1] in the layout the autoencoder takes: (BF, C, H, W) or (B, C, F, H, W)."""
    video_BFCHW = world.draw_batch(count, generator=generator, num_frames=frames).frames_BFCHW
    video = isinstance(autoencoder, AutoencoderKLWan)
    inputs = video_BFCHW.transpose(1, 2) if video else video_BFCHW.flatten(0, 1)
    return inputs.to(autoencoder.device) * 2 - 1


def frames_at(autoencoder: Autoencoder, progress: float) -> int:
    """The length of the videos to train on: single frames are cheapest, and teach most of it.

    The causal autoencoder sees its first frame alone, so single frames train it too; its temporal
    layers need longer videos, which follow.
    """
    if isinstance(autoencoder, AutoencoderKL) or progress < 0.4:
        return 1
    return 5 if progress < 0.6 else _WAN_FRAMES


def loss_of(autoencoder: Autoencoder, inputs: torch.Tensor) -> torch.Tensor:
    """Squared and absolute error of the reconstruction, and a light pull of the latents to N(0, 1)."""
    with torch.autocast(inputs.device.type, torch.bfloat16):
        posterior = autoencoder.encode(inputs).latent_dist
        output = autoencoder.decode(posterior.sample()).sample.float()
    error = output - inputs
    kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float())
    loss: torch.Tensor = (error**2).mean() + 0.2 * error.abs().mean() + _KL_WEIGHT * kl.mean()
    return loss


@torch.no_grad()
def normalise_latents(
    autoencoder: Autoencoder, generator: torch.Generator, *, batches: int = 8
) -> None:
    """Measures the latents of new videos, 32 a batch, and gives every channel mean 0 and deviation 1.

    The config of the video autoencoder has room for that. A frame autoencoder's has one factor for
    all channels, so there the change of scale is folded into the convolutions around the latents.
    """
    latents = []
    for _ in range(batches):
        inputs = draw_inputs(autoencoder, 32, frames=_WAN_FRAMES, generator=generator)
        latents.append(autoencoder.encode(inputs).latent_dist.mode())
    channels = torch.cat(latents).transpose(0, 1).flatten(1)
    mean_C, std_C = channels.mean(1), channels.std(1)
    if isinstance(autoencoder, AutoencoderKLWan):
        autoencoder.register_to_config(latents_mean=mean_C.tolist(), latents_std=std_C.tolist())
    else:
        _fold(autoencoder.quant_conv, autoencoder.post_quant_conv, mean_C, std_C)


def _fold(before: nn.Conv2d, after: nn.Conv2d, mean_C: torch.Tensor, std_C: torch.Tensor) -> None:
    """Lets `before` yield (z - mean) / std in place of z, and `after` take it; both are 1x1."""
    assert before.bias is not None
    assert after.bias is not None
    count = len(mean_C)
    # The second half of the outputs is the log variance, which shrinks by twice the log deviation.
    before.weight[:count] /= std_C[:, None, None, None]
    before.bias[:count] = (before.bias[:count] - mean_C) / std_C
    before.bias[count:] -= 2 * std_C.log()
    after.bias += (after.weight[:, :, 0, 0] * mean_C).sum(1)
    after.weight *= std_C[None, :, None, None]


@torch.no_grad()
def psnr(autoencoder: Autoencoder, *, videos: int, seed: int) -> float:
    """Peak signal-to-noise ratio in dB of reconstructed new videos (values in [0, 1], peak 1)."""
    generator = torch.Generator().manual_seed(seed)
    inputs = draw_inputs(autoencoder, videos, frames=_WAN_FRAMES, generator=generator)
    output = autoencoder.decode(autoencoder.encode(inputs).latent_dist.mode()).sample
    squared = ((output.clamp(-1, 1) - inputs) / 2).square().mean()
    return float(-10 * squared.log10())


def train(run: training.Run, autoencoder: Autoencoder, *, resumed: bool) -> None:
    """Trains, and saves the averaged weights into OUT/vae on the way and at the end.

    A resumed autoencoder has had its single frames, and goes on with videos of full length.
    """
    generator = run.generator()
    peak = _RESUMED_RATE if resumed else _RATE
    net = autoencoder.to(run.device).train()
    average = training.Average(net, decay=0.995)
    optimizer = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)

    def save() -> None:
        # A copy, because folding changes the weights that the average is still to follow.
        scaled = copy.deepcopy(average.net)
        normalise_latents(scaled, torch.Generator().manual_seed(run.seed + 1))
        folders.save(scaled, run.out / "vae")
        training.say(f"PSNR {psnr(scaled, videos=64, seed=run.seed + 2):.2f} dB")

    reporter = training.Reporter(save)
    for step in training.steps(run):
        training.set_rate(optimizer, peak=peak, progress=step.progress)
        frames = frames_at(net, 1.0 if resumed else step.progress)
        count = _FRAMES_PER_STEP // frames
        loss = loss_of(net, draw_inputs(net, count, frames=frames, generator=generator))
        training.descend(optimizer, loss, [net])
        average.update(net)
        reporter.note(step, loss)
    save()
    training.say(f"trained {step.number + 1} steps")


def main() -> None:
    parser = training.parser(__doc__)
    parser.add_argument("--kind", choices=("unet", "wan"), required=True)
    parser.add_argument("--resume", action="store_true", help="go on from OUT/vae")
    arguments = parser.parse_args()
    run = training.start(arguments, steps=2000)
    wan = arguments.kind == "wan"
    if arguments.resume:
        loader = AutoencoderKLWan if wan else AutoencoderKL
        net = loader.from_pretrained(run.out / "vae")
    else:
        net = architectures.video_autoencoder() if wan else architectures.image_autoencoder()
    train(run, net, resumed=arguments.resume)


if __name__ == "__main__":
    main()
