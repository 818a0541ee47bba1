"""Trains the temporal-consistency reward: a V-JEPA 2 that predicts the features of hidden parts of videos.

    python -m vader_core.tiny.train_predictor --out vader_core/tiny/weights/tiny-vjepa

As in V-JEPA (arXiv 2404.08471, 2506.09985): an encoder sees the patches that are not hidden, a predictor
says what the features of the hidden ones are, and the features themselves come from a slow average of
the encoder that sees the whole video. Only smooth motions are shown, so a video that jumps, trembles or
is out of order surprises the predictor. A third of the videos come out of the tiny base models' decoders.

On so small a world features shrink to little more than "shape or no shape" if they may. So a linear
layer, thrown away afterwards, must read the visible patches' pixels off their features.

What is saved is the averaged encoder, as in the published checkpoints, with the averaged predictor.
Prints how often a smooth video is less surprising than a version of it whose order is broken.

Tensor suffixes as in world.py, and: N tokens of a video, T moments (tubelets), D features,
V visible and U hidden tokens, P pixels of a patch.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import VJEPA2Model

from vader_core.rewards.vjepa import (
    block_masks,
    encode,
    moment_masks,
    predict,
    prediction_loss,
)
from vader_core.tiny import architectures, augment, folders, pictures, training, world

_RATE = 1.5e-3
_DRAWN, _STRAIGHT = 16, 16  # and half as many decoded ones as drawn ones
_DECODED = 512
_AVERAGE = 0.996
_FRAMES = 8
# How often whole moments are hidden; else blocks of the picture are, at all moments.
_HIDE_MOMENTS = 0.7
_READING_WEIGHT = 0.5
BREAKS = ("scrambled", "jittered", "frozen, then jumping")


def draw_mask(
    model: VJEPA2Model, *, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hides some moments of a clip, or the same places at all moments, as the published training does."""
    shape = token_grid(model)
    coin = float(torch.rand((), generator=generator))
    if coin < _HIDE_MOMENTS:
        number = int(torch.randint(1, shape[0] - 1, (), generator=generator))
        hidden_T = torch.randperm(shape[0], generator=generator)[:number]
        return _hiding(hidden_T, shape)
    small, large = block_masks(shape, generator)
    return small if coin < (1 + _HIDE_MOMENTS) / 2 else large


def token_grid(model: VJEPA2Model) -> tuple[int, int, int]:
    """The tokens of a clip in time, height and width."""
    edge = model.config.crop_size // model.config.patch_size
    return _FRAMES // model.config.tubelet_size, edge, edge


def _hiding(
    hidden_T: torch.Tensor, shape: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The indices of the visible tokens and of the hidden ones, all those of some moments."""
    hidden = torch.zeros(shape, dtype=torch.bool)
    hidden[hidden_T] = True
    return (~hidden.flatten()).nonzero().flatten(), hidden.flatten().nonzero().flatten()


def pixels(frames_BFCHW: torch.Tensor) -> torch.Tensor:
    """Frames in [0, 1] as the encoder takes them."""
    processing = folders.VideoPreprocessing
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (processing.MEAN, processing.STD))
    return (frames_BFCHW - mean) / std


def targets(teacher: VJEPA2Model, pixels_BFCHW: torch.Tensor) -> torch.Tensor:
    """The teacher's features (B, N, D) of the whole video, normalised, without a graph."""
    with torch.no_grad():
        features_BND = encode(teacher, pixels_BFCHW)
        return functional.layer_norm(features_BND, features_BND.shape[-1:])


def patches(model: VJEPA2Model, pixels_BFCHW: torch.Tensor) -> torch.Tensor:
    """The pixels (B, N, P) of every token's patch."""
    conv = model.encoder.embeddings.patch_embeddings.proj
    blocks = pixels_BFCHW.transpose(1, 2)
    for axis, size in zip((2, 3, 4), conv.kernel_size, strict=True):
        blocks = blocks.unfold(axis, size, size)
    return blocks.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4).flatten(1, 3)


def loss_of(
    model: VJEPA2Model,
    reader: nn.Linear,
    teacher: VJEPA2Model,
    pixels_BFCHW: torch.Tensor,
    mask: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """The distance of predicted features, and of the visible patches as read off their own features."""
    visible_V, hidden_U = mask
    context_BVD = encode(model, pixels_BFCHW, visible_V)
    predicted_BUD = predict(model, context_BVD, visible_V, hidden_U)
    surprise = (predicted_BUD - targets(teacher, pixels_BFCHW)[:, hidden_U]).abs().mean()
    seen_BVP = patches(model, pixels_BFCHW)[:, visible_V]
    normed_BVD = functional.layer_norm(context_BVD, context_BVD.shape[-1:])
    misread = functional.mse_loss(reader(normed_BVD), seen_BVP)
    return surprise + _READING_WEIGHT * misread


def draw_clips(decoded: pictures.Pictures, *, generator: torch.Generator) -> torch.Tensor:
    """Softened clips of eight frames, smooth in time: of any motion, of the prompts', and decoded ones."""
    shown = pictures.mix(decoded, count=_DRAWN, generator=generator).frames_BFCHW
    first = int(torch.randint(0, pictures.FRAMES - _FRAMES + 1, (), generator=generator))
    straight = world.draw_batch(_STRAIGHT, generator=generator, num_frames=_FRAMES).frames_BFCHW
    clips = torch.cat([shown[:, first : first + _FRAMES], straight])
    return augment.soften(clips, generator=generator)


def broken(frames_BFCHW: torch.Tensor, kind: str, *, generator: torch.Generator) -> torch.Tensor:
    """Videos of the same frames in which time is broken in one of the ways of `BREAKS`."""
    frames = frames_BFCHW.shape[1]
    if kind == "scrambled":
        order_BF = torch.rand(frames_BFCHW.shape[:2], generator=generator).argsort(1)
        return frames_BFCHW[torch.arange(len(frames_BFCHW))[:, None], order_BF]
    if kind == "jittered":
        shift_FX = torch.randint(1, 4, (frames, 2), generator=generator)
        sign_FX = torch.randint(0, 2, (frames, 2), generator=generator) * 2 - 1
        moved = [
            frames_BFCHW[:, index].roll(shift.tolist(), dims=(-2, -1))
            for index, shift in enumerate(shift_FX * sign_FX)
        ]
        return torch.stack(moved, 1)
    half = frames // 2
    return torch.cat([frames_BFCHW[:, :1].expand(-1, half, -1, -1, -1), frames_BFCHW[:, half:]], 1)


@torch.no_grad()
def order_accuracy(model: VJEPA2Model, *, videos: int, seed: int) -> dict[str, float]:
    """How often a new smooth video surprises less than its broken version, by the kind of break.

    The surprise is the reward's: the mean over hiding each moment in turn.
    """
    masks = moment_masks(token_grid(model))

    def surprise(frames_BFCHW: torch.Tensor) -> torch.Tensor:
        pixels_BFCHW = pixels(frames_BFCHW)
        return prediction_loss(model, targets(model, pixels_BFCHW), pixels_BFCHW, masks)

    generator = torch.Generator().manual_seed(seed)
    smooth = world.draw_batch(videos, generator=generator, num_frames=_FRAMES).frames_BFCHW
    smooth = augment.soften(smooth, generator=generator)
    calm_B = surprise(smooth)
    shares = {}
    for kind in BREAKS:
        bad_B = surprise(broken(smooth, kind, generator=generator))
        shares[kind] = float((calm_B < bad_B).float().mean())
    return shares


def train(run: training.Run, model: VJEPA2Model) -> VJEPA2Model:
    """Trains on smooth videos and returns the averaged weights."""
    generator = run.generator()
    decoded = pictures.draw_decoded(_DECODED, generator=generator)
    average = training.Average(model, decay=_AVERAGE)
    conv = model.encoder.embeddings.patch_embeddings.proj
    reader = nn.Linear(model.config.hidden_size, conv.weight[0].numel())
    parameters = [*model.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=1e-2)
    reporter = training.Reporter(lambda: folders.save(average.net, run.out))
    for step in training.steps(run):
        training.set_rate(optimizer, peak=_RATE, progress=step.progress)
        frames_BFCHW = draw_clips(decoded, generator=generator)
        mask = draw_mask(model, generator=generator)
        loss = loss_of(model, reader, average.net, pixels(frames_BFCHW), mask)
        training.descend(optimizer, loss, [model, reader])
        average.update(model)
        reporter.note(step, loss)
    folders.save(average.net, run.out)
    folders.save(folders.VideoPreprocessing(), run.out)
    training.say(f"trained {step.number + 1} steps")
    return average.net


def main() -> None:
    parser = training.parser(__doc__)
    parser.add_argument("--resume", action="store_true", help="go on from the model in OUT")
    arguments = parser.parse_args()
    run = training.start(arguments, steps=4000)
    if arguments.resume:
        model = VJEPA2Model.from_pretrained(run.out, dtype=torch.float32)
    else:
        model = architectures.video_predictor()
    trained = train(run, model)
    shares = order_accuracy(trained, videos=512, seed=run.seed + 1)
    for kind, share in shares.items():
        training.say(f"{kind}: {100 * share:.1f} %")


if __name__ == "__main__":
    main()
