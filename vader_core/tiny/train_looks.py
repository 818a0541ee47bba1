"""Trains the aesthetic and weather rewards: a CLIP vision tower with two heads on its embeddings.

    python -m vader_core.tiny.train_looks --out vader_core/tiny/weights/tiny-looks

The taste of the aesthetic head is made up and plain: one shape, large, bright and in the middle of the
frame, scores near 10, and a frame with nothing in it 1. The other head gives the probability of haze; its
labels are as soft as the haze is thin, so that a frame that is a little paler scores a little higher.

The tower starts as tiny-clip's. The large models' heads sit on a frozen tower that has seen the whole
world; tiny-clip's embeddings hardly tell where a shape is, so here the tower learns with the heads.
Prints how much of the variance of new frames' labels each head explains.

Tensor suffixes as in world.py, and: N frames, D the embedding's width, O objects.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

from vader_core.rewards.head import Head, HeadConfig
from vader_core.tiny import augment, folders, pictures, training
from vader_core.tiny.folders import WEIGHTS_ROOT

_RATE = 6e-4
_DRAWN = (
    48  # new videos of a batch; half as many decoded ones are added; one frame is taken of each
)
_DECODED = 512
_LARGEST = 18.0 / 32.0  # the largest shapes' width as a part of the frame
_BRIGHTEST = 0.94
_CLUTTER = 0.6
_SCALE = 9.0
HEADS = ("aesthetic_head", "hazy_head")


class Looks(nn.Module):
    """The tower and its heads. The second head gives logits here, and is saved with a sigmoid."""

    def __init__(self, tower: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        self.tower = tower
        width: int = tower.config.projection_dim
        self._widths = [width, width // 2, 1]
        config = HeadConfig(self._widths, between="relu")
        self.heads = nn.ModuleList(Head(config) for _ in HEADS)

    def forward(self, frames_NCHW: torch.Tensor) -> list[torch.Tensor]:
        """What each head says (N,) of frames in [0, 1]: a score and a logit."""
        image_ND = self.tower(pixel_values=frames_NCHW * 2 - 1).image_embeds
        return [head(functional.normalize(image_ND, dim=-1)) for head in self.heads]

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the tower and the heads as the reward `clip_head` reads them."""
        self.tower.save_pretrained(folder)
        for name, trained in zip(HEADS, self.heads, strict=True):
            output = "none" if name == HEADS[0] else "sigmoid"
            head = Head(HeadConfig(self._widths, between="relu", output=output))
            head.load_state_dict(trained.state_dict())
            head.save_pretrained(folder, name)


def from_pretrained(folder: str | Path) -> Looks:
    """The tower and heads that `save_pretrained` wrote, in float32 and evaluation mode."""
    looks = Looks(CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32))
    for name, head in zip(HEADS, looks.heads, strict=True):
        head.load_state_dict(Head.from_pretrained(folder, name).state_dict())
    return looks.eval()


def start_from_clip() -> Looks:
    """tiny-clip's vision tower with new heads."""
    tower = CLIPVisionModelWithProjection.from_pretrained(
        WEIGHTS_ROOT / "tiny-clip", dtype=torch.float32
    )
    return Looks(tower)


def taste(shown: pictures.Pictures, frame_N: torch.Tensor) -> torch.Tensor:
    """The aesthetic score (N,) of one frame of each video, from 1 to 10."""
    box_NO4 = shown.box_BFOX[torch.arange(len(frame_N)), frame_N]
    off_NO = (box_NO4[..., :2] - 0.5).norm(dim=-1)
    middle_NO = (1 - off_NO / 0.5).clamp(min=0)
    large_NO = (box_NO4[..., 2:].amin(-1) / _LARGEST).clamp(max=1)
    bright_NO = shown.luma_BO / _BRIGHTEST
    worth_NO = shown.opacity_BO * (middle_NO + large_NO + bright_NO) / 3
    cluttered_N = shown.opacity_BO.amin(1) > 0
    worth_N: torch.Tensor = worth_NO.amax(1) * torch.where(cluttered_N, _CLUTTER, 1.0)
    return 1 + _SCALE * worth_N


def draw_frames(
    decoded: pictures.Pictures, *, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Softened frames (N, C, H, W) and what the heads should say of them: a score and a probability."""
    shown = pictures.mix(decoded, count=count, generator=generator, haze=True)
    drawn = len(shown.haze_B)
    frame_N = torch.randint(pictures.FRAMES, (drawn,), generator=generator)
    chosen_NCHW = shown.frames_BFCHW[torch.arange(drawn), frame_N]
    softened_NCHW = augment.soften(chosen_NCHW[:, None], generator=generator)[:, 0]
    # Haze does not change the taste: the two rewards must be able to disagree.
    return softened_NCHW, [taste(shown, frame_N), shown.haze_B]


def loss_of(said: list[torch.Tensor], labels: list[torch.Tensor]) -> torch.Tensor:
    """Squared error of the score, in units of its range, and cross-entropy of the probability."""
    error = functional.mse_loss(said[0] / _SCALE, labels[0] / _SCALE)
    return 4 * error + functional.binary_cross_entropy_with_logits(said[1], labels[1])


@torch.no_grad()
def explained(model: Looks, *, frames: int, seed: int) -> dict[str, float]:
    """The part of the labels' variance that each head explains, on new drawn and decoded frames."""
    generator = torch.Generator().manual_seed(seed)
    decoded = pictures.draw_decoded(frames // 8, generator=generator)
    drawn_NCHW, labels = draw_frames(decoded, count=frames, generator=generator)
    said = model(drawn_NCHW)
    said = [said[0], said[1].sigmoid()]
    return {
        name: float(1 - (value_N - label_N).pow(2).mean() / label_N.var())
        for name, value_N, label_N in zip(HEADS, said, labels, strict=True)
    }


def train(run: training.Run, model: Looks) -> Looks:
    """Trains on drawn and decoded frames and returns the averaged weights."""
    generator = run.generator()
    decoded = pictures.draw_decoded(_DECODED, generator=generator)
    average = training.Average(model, decay=0.998)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    reporter = training.Reporter(lambda: folders.save(average.net, run.out))
    for step in training.steps(run):
        training.set_rate(optimizer, peak=_RATE, progress=step.progress)
        frames_NCHW, labels = draw_frames(decoded, count=_DRAWN, generator=generator)
        loss = loss_of(model(frames_NCHW), labels)
        training.descend(optimizer, loss, [model])
        average.update(model)
        reporter.note(step, loss)
    folders.save(average.net, run.out)
    folders.save(folders.clip_processor(), run.out)
    training.say(f"trained {step.number + 1} steps")
    return average.net


def main() -> None:
    arguments = training.parser(__doc__).parse_args()
    run = training.start(arguments, steps=3000)
    trained = train(run, start_from_clip())
    for name, share in explained(trained, frames=512, seed=run.seed + 1).items():
        training.say(f"{name}: {100 * share:.1f} % of the variance")


if __name__ == "__main__":
    main()
