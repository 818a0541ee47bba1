"""Trains the action reward: a VideoMAE classifier of the direction of motion.

    python -m vader_core.tiny.train_action --out vader_core/tiny/weights/tiny-videomae

A classifier that knows the four clean directions alone is equally sure of every video it sees: its
score is flat, and a reward's gradient has nothing to climb. So it learns from motions of any angle
and speed, with soft labels that follow the velocity: a video that moves a little less to the left, or
a little more slowly, scores a little better for "moving right".

`--resume` goes on from the classifier in OUT. Prints its accuracy on newly drawn videos of the four
directions, sharp and softened.
"""

from __future__ import annotations

import torch
from torch.nn import functional
from transformers import VideoMAEForVideoClassification

from vader_core.tiny import architectures, augment, folders, training, world

_RATE = 1e-3
_BATCH = 32
_FRAMES = 8
# At the usual speed along an axis (pixels per frame) the right label gets about nine tenths.
_USUAL_SPEED = 1.6
_SHARPNESS = 3.0


def soft_labels(velocity_BX: torch.Tensor) -> torch.Tensor:
    """The part of each direction (B, 4) in a velocity (x, y) in pixels per frame; at rest all alike."""
    heading_DX = torch.tensor(list(world.DIRECTIONS.values())).float()
    along_BD = velocity_BX @ heading_DX.T / _USUAL_SPEED
    return (_SHARPNESS * along_BD).softmax(-1)


def draw_clips(
    count: int, *, generator: torch.Generator, skip: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softened clips (B, 8, C, H, W) in [0, 1] of motions at any angle, and their soft labels (B, 4).

    With `skip` the clips are nine-frame videos that lost one random frame, as when a longer video
    is thinned to what the classifier takes.
    """
    motions = world.draw_motions(count, generator=generator, num_frames=_FRAMES + int(skip))
    frames = motions.frames_BFCHW
    if skip:
        lost = int(torch.randint(0, _FRAMES + 1, (), generator=generator))
        frames = torch.cat([frames[:, :lost], frames[:, lost + 1 :]], 1)
    return augment.soften(frames, generator=generator), soft_labels(motions.velocity_BX)


@torch.no_grad()
def accuracy(
    model: VideoMAEForVideoClassification, *, videos: int, seed: int, softened: bool
) -> float:
    """The part of new videos in the four directions whose direction the model names rightly."""
    generator = torch.Generator().manual_seed(seed)
    batch = world.draw_batch(videos, generator=generator, num_frames=_FRAMES)
    clips = batch.frames_BFCHW
    if softened:
        clips = augment.soften(clips, generator=generator)
    logits = model(clips.to(model.device) * 2 - 1).logits
    return float((logits.argmax(1).cpu() == batch.direction_B).float().mean())


def train(
    run: training.Run, model: VideoMAEForVideoClassification
) -> VideoMAEForVideoClassification:
    """Trains on softened clips and returns the averaged weights."""
    generator = run.generator()
    average = training.Average(model, decay=0.995)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    reporter = training.Reporter(lambda: folders.save(average.net, run.out))
    for step in training.steps(run):
        training.set_rate(optimizer, peak=_RATE, progress=step.progress)
        clips, labels_BD = draw_clips(_BATCH, generator=generator, skip=bool(step.number % 2))
        logits = model(clips.to(run.device) * 2 - 1).logits
        loss = functional.cross_entropy(logits, labels_BD.to(run.device))
        training.descend(optimizer, loss, [model])
        average.update(model)
        reporter.note(step, loss)
    folders.save(average.net, run.out)
    folders.save(folders.videomae_processor(), run.out)
    training.say(f"trained {step.number + 1} steps")
    return average.net


def main() -> None:
    parser = training.parser(__doc__)
    parser.add_argument("--resume", action="store_true", help="go on from the classifier in OUT")
    arguments = parser.parse_args()
    run = training.start(arguments, steps=1500)
    if arguments.resume:
        model = VideoMAEForVideoClassification.from_pretrained(run.out, dtype=torch.float32)
    else:
        model = architectures.action_classifier()
    trained = train(run, model.to(run.device))
    for softened in (False, True):
        right = accuracy(trained, videos=512, seed=run.seed + 1, softened=softened)
        training.say(f"{'softened' if softened else 'sharp'}: direction {100 * right:.1f} %")


if __name__ == "__main__":
    main()
