"""Trains the object rewards' detector: a YOLOS that finds circles, squares and triangles in frames.

    python -m vader_core.tiny.train_detector --out vader_core/tiny/weights/tiny-yolos

A detector that is sure of all it sees has a flat score, and a reward's gradient nothing to climb. So it
learns from shapes that fade and shapes between two shapes, with labels as soft as they are, and none
of its labels is quite sure. A third of its frames come out of the tiny base models' own decoders.

Set prediction as in DETR (arXiv 2005.12872): each object of a frame is matched with the detection token
that fits it best. Every frame has at most two objects, so all matchings are tried.

Tensor suffixes: N frames, Q detection tokens, O = 2 objects, S shapes, K = S + 1 classes, the last one "no object".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional
from transformers import YolosForObjectDetection

from vader_core.tiny import architectures, folders, pictures, training, world
from vader_core.tiny.augment import soften

_RATE = 1.5e-3
_DRAWN = (
    48  # new videos of a batch; half as many decoded ones are added; one frame is taken of each
)
_DECODED = 512
_SUREST = 0.95
_CLEAR_OPACITY = 0.7
_NO_OBJECT_WEIGHT = 0.3
_BOX_WEIGHT, _OVERLAP_WEIGHT = 5.0, 2.0
_PROCESSOR = folders.yolos_processor()


class Labels(NamedTuple):
    """What a detector should say: class probabilities (N, O, K) and boxes (N, O, 4) of the objects."""

    class_NOK: torch.Tensor
    box_NO4: torch.Tensor


def soft_labels(shown: pictures.Pictures, frame_N: torch.Tensor) -> Labels:
    """The labels of one frame of each video: the fainter an object is, the more it is "no object"."""
    presence_NO = (shown.opacity_BO / _CLEAR_OPACITY).clamp(max=1)[..., None]
    seen_NOS = _SUREST * presence_NO * shown.kind_BOS
    class_NOK = torch.cat([seen_NOS, 1 - seen_NOS.sum(-1, keepdim=True)], -1)
    return Labels(class_NOK, shown.box_BFOX[torch.arange(len(frame_N)), frame_N])


def pixels(frames_NCHW: torch.Tensor) -> torch.Tensor:
    """Frames in [0, 1] as the detector takes them."""
    mean, std = (
        torch.tensor(values).view(-1, 1, 1)
        for values in (_PROCESSOR.image_mean, _PROCESSOR.image_std)
    )
    return (frames_NCHW - mean) / std


def loss_of(logits_NQK: torch.Tensor, boxes_NQ4: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Cross-entropy of all tokens and the box errors of those matched with an object."""
    objects = labels.class_NOK.shape[1]
    presence_NO = 1 - labels.class_NOK[..., -1]
    overlap_NQO = overlap(boxes_NQ4[:, :, None], labels.box_NO4[:, None])
    distance_NQO = (boxes_NQ4[:, :, None] - labels.box_NO4[:, None]).abs().sum(-1)
    error_NQO = _BOX_WEIGHT * distance_NQO + _OVERLAP_WEIGHT * (1 - overlap_NQO)
    likely_NQO = logits_NQK.softmax(-1)[..., :-1] @ labels.class_NOK[..., :-1].mT
    token_NO = match((error_NQO - likely_NQO).detach() * presence_NO[:, None])
    rows = torch.arange(len(token_NO))[:, None]
    wanted_NQK = functional.one_hot(
        torch.full(logits_NQK.shape[:2], logits_NQK.shape[-1] - 1), logits_NQK.shape[-1]
    ).float()
    wanted_NQK[rows, token_NO] = labels.class_NOK
    weight_NQ = torch.full(logits_NQK.shape[:2], _NO_OBJECT_WEIGHT)
    weight_NQ[rows, token_NO] = torch.where(presence_NO > 0, 1.0, _NO_OBJECT_WEIGHT)
    surprise_NQ = -(wanted_NQK * logits_NQK.log_softmax(-1)).sum(-1)
    errors_NO = error_NQO[rows, token_NO, torch.arange(objects)] * presence_NO
    naming = (surprise_NQ * weight_NQ).sum() / weight_NQ.sum()
    return naming + errors_NO.sum() / presence_NO.sum().clamp(min=1)


def overlap(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Generalised intersection over union in (-1, 1] of boxes (..., 4): centre and size."""
    low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    other_low, other_high = (
        others[..., :2] - others[..., 2:] / 2,
        others[..., :2] + others[..., 2:] / 2,
    )
    shared = (high.minimum(other_high) - low.maximum(other_low)).clamp(min=0).prod(-1)
    union = boxes[..., 2:].prod(-1) + others[..., 2:].prod(-1) - shared
    around = (high.maximum(other_high) - low.minimum(other_low)).prod(-1)
    return shared / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)


def match(cost_NQO: torch.Tensor) -> torch.Tensor:
    """The token (N, O) of each of two objects, two different ones, with the least sum of costs."""
    tokens = cost_NQO.shape[1]
    both_NQQ = cost_NQO[:, :, None, 0] + cost_NQO[:, None, :, 1]
    same = torch.eye(tokens, dtype=torch.bool)
    flat_N = both_NQQ.masked_fill(same, torch.inf).flatten(1).argmin(1)
    return torch.stack([flat_N // tokens, flat_N % tokens], -1)


class Quality(NamedTuple):
    """Parts of new frames with one whole shape that is named rightly, of empty frames in which nothing
    is seen, and the mean overlap (generalised intersection over union) of the boxes."""

    named: float
    empty: float
    overlap: float


@torch.no_grad()
def quality(model: YolosForObjectDetection, *, frames: int, seed: int) -> Quality:
    """Of plain drawn frames, softened; an object is seen where its probability exceeds a half."""
    generator = torch.Generator().manual_seed(seed)
    shown = pictures.draw(frames, generator=generator, plain=True)
    frames_NCHW = soften(shown.frames_BFCHW[:, :1], generator=generator)[:, 0]
    output = model(pixels(frames_NCHW))
    probability_NQS = output.logits.softmax(-1)[..., :-1]
    best_NQ, shape_NQ = probability_NQS.max(-1)
    seen_N, token_N = best_NQ.max(1)
    rows = torch.arange(frames)
    right_N = (shape_NQ[rows, token_N] == shown.kind_BOS[:, 0].argmax(-1)) & (seen_N > 0.5)
    overlap_N = overlap(output.pred_boxes[rows, token_N], shown.box_BFOX[:, 0, 0])
    grounds_NHW = world.background(frames, size=world.SIZE, generator=generator)
    nothing = grounds_NHW[:, None].expand(-1, 3, -1, -1)
    unseen_N = model(pixels(nothing)).logits.softmax(-1)[..., :-1].amax((1, 2)) < 0.5
    parts = (part_N.float().mean() for part_N in (right_N, unseen_N, overlap_N))
    return Quality(*map(float, parts))


def train(run: training.Run, model: YolosForObjectDetection) -> YolosForObjectDetection:
    """Trains on drawn and decoded frames and returns the averaged weights."""
    generator = run.generator()
    decoded = pictures.draw_decoded(_DECODED, generator=generator)
    average = training.Average(model, decay=0.998)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-3)
    reporter = training.Reporter(lambda: folders.save(average.net, run.out))
    for step in training.steps(run):
        training.set_rate(optimizer, peak=_RATE, progress=step.progress)
        shown = pictures.mix(decoded, count=_DRAWN, generator=generator)
        count = len(shown.haze_B)
        frame_N = torch.randint(pictures.FRAMES, (count,), generator=generator)
        chosen_NCHW = shown.frames_BFCHW[torch.arange(count), frame_N]
        softened_NCHW = soften(chosen_NCHW[:, None], generator=generator)[:, 0]
        output = model(pixels(softened_NCHW))
        loss = loss_of(output.logits, output.pred_boxes, soft_labels(shown, frame_N))
        training.descend(optimizer, loss, [model])
        average.update(model)
        reporter.note(step, loss)
    folders.save(average.net, run.out)
    folders.save(_PROCESSOR, run.out)
    training.say(f"trained {step.number + 1} steps")
    return average.net


def main() -> None:
    parser = training.parser(__doc__)
    parser.add_argument("--resume", action="store_true", help="go on from the detector in OUT")
    arguments = parser.parse_args()
    run = training.start(arguments, steps=4000)
    if arguments.resume:
        model = YolosForObjectDetection.from_pretrained(run.out, dtype=torch.float32)
    else:
        model = architectures.detector()
    trained = train(run, model)
    training.say(str(quality(trained, frames=512, seed=run.seed + 1)))


if __name__ == "__main__":
    main()
