"""Trains the independent judge of colour, shape and direction.

    python -m vader_core.tiny.train_judge --out vader_core/tiny/weights/tiny-judge

Prints its accuracy on newly drawn videos, sharp and softened.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from vader_core.tiny import augment, folders, training, world
from vader_core.tiny.judge import Judge, JudgeConfig

_RATE = 3e-3
_BATCH = 32


def loss_of(judge: Judge, batch: world.Batch, frames_BFCHW: torch.Tensor) -> torch.Tensor:
    """The sum of the three cross entropies."""
    verdict = judge(frames_BFCHW)
    targets = (batch.colour_B, batch.shape_B, batch.direction_B)
    terms = [
        functional.cross_entropy(logits, target.to(logits.device))
        for logits, target in zip(verdict, targets, strict=True)
    ]
    return torch.stack(terms).sum()


@torch.no_grad()
def accuracy(judge: Judge, *, videos: int, seed: int, softened: bool) -> tuple[float, float, float]:
    """The part of new videos whose colour, shape and direction the judge names rightly."""
    generator = torch.Generator().manual_seed(seed)
    batch = world.draw_batch(videos, generator=generator)
    frames = batch.frames_BFCHW
    if softened:
        frames = augment.soften(frames, generator=generator)
    verdict = judge(frames.to(next(judge.parameters()).device))
    targets = (batch.colour_B, batch.shape_B, batch.direction_B)
    right = [
        float((logits.argmax(1).cpu() == target).float().mean())
        for logits, target in zip(verdict, targets, strict=True)
    ]
    return right[0], right[1], right[2]


def train(run: training.Run) -> Judge:
    """Trains on softened videos of 8 or 9 frames and returns the averaged weights."""
    generator = run.generator()
    judge = Judge(JudgeConfig()).to(run.device)
    average = training.Average(judge, decay=0.995)
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=1e-2)
    reporter = training.Reporter(lambda: folders.save(average.net, run.out))
    for step in training.steps(run):
        training.set_rate(optimizer, peak=_RATE, progress=step.progress)
        frames = 8 + step.number % 2
        batch = world.draw_batch(_BATCH, generator=generator, num_frames=frames)
        softened = augment.soften(batch.frames_BFCHW, generator=generator)
        loss = loss_of(judge, batch, softened.to(run.device))
        training.descend(optimizer, loss, [judge])
        average.update(judge)
        reporter.note(step, loss)
    folders.save(average.net, run.out)
    training.say(f"trained {step.number + 1} steps")
    return average.net


def main() -> None:
    run = training.start(training.parser(__doc__).parse_args(), steps=800)
    judge = train(run)
    for softened in (False, True):
        right = accuracy(judge, videos=512, seed=run.seed + 1, softened=softened)
        colour, shape, direction = (f"{100 * part:.1f} %" for part in right)
        kind = "softened" if softened else "sharp"
        training.say(f"{kind}: colour {colour}, shape {shape}, direction {direction}")


if __name__ == "__main__":
    main()
