"""The tiny rewards put pairs of videos with a known order in that order: higher is better."""

from __future__ import annotations

import pytest
import torch

from tests.vader_core.tiny_models import reward
from vader_core.spec import Prompt
from vader_core.tiny import augment, pictures, train_looks, train_predictor, world

_VIDEOS = 32


def _scores(name: str, frames_BFCHW: torch.Tensor) -> torch.Tensor:
    prompts = [Prompt(prompt="a red circle moving left")] * len(frames_BFCHW)
    with torch.no_grad():
        return reward(name, torch.float32).score(frames_BFCHW, prompts)


def _softened(frames_BFCHW: torch.Tensor) -> torch.Tensor:
    return augment.soften(frames_BFCHW, generator=torch.Generator().manual_seed(2))


def _plain() -> pictures.Pictures:
    return pictures.draw(_VIDEOS, generator=torch.Generator().manual_seed(1), plain=True)


def test_removal_is_high_where_the_circle_is_another_shape_and_low_where_it_is_there() -> None:
    shown = pictures.draw(4 * _VIDEOS, generator=torch.Generator().manual_seed(1), plain=True)
    score_B = _scores("tiny-object-removal", _softened(shown.frames_BFCHW))
    circle_B = shown.kind_BOS[:, 0, 0] == 1
    assert score_B[circle_B].median() < 0.2
    assert score_B[~circle_B].median() > 0.8


@pytest.mark.parametrize("kind", train_predictor.BREAKS)
def test_temporal_consistency_is_higher_for_smooth_videos_of_nine_frames(kind: str) -> None:
    generator = torch.Generator().manual_seed(4)
    smooth = world.draw_batch(_VIDEOS, generator=generator, num_frames=9).frames_BFCHW
    bad = train_predictor.broken(smooth, kind, generator=generator)
    name = "tiny-temporal-consistency"
    assert (_scores(name, smooth) > _scores(name, bad)).float().mean() > 0.9


def test_the_aesthetic_reward_follows_the_taste() -> None:
    shown = _plain()
    wanted_BF = torch.stack(
        [train_looks.taste(shown, torch.full((_VIDEOS,), f)) for f in range(pictures.FRAMES)], 1
    )
    score_B = _scores("tiny-aesthetic", _softened(shown.frames_BFCHW))
    both = torch.stack([score_B, wanted_BF.mean(1)])
    assert torch.corrcoef(both)[0, 1] > 0.9


def test_haze_is_likelier_the_denser_it_is() -> None:
    clear = _plain().frames_BFCHW
    thin, thick = (_scores("tiny-hazy", clear.lerp(torch.tensor(0.7), d)) for d in (0.15, 0.4))
    none = _scores("tiny-hazy", clear)
    assert (none < thin).float().mean() > 0.9
    assert (thin < thick).float().mean() > 0.9
