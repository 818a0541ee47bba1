from __future__ import annotations

import torch

from vader_core import seeds


def test_the_same_four_values_give_the_same_numbers() -> None:
    first = torch.randn(5, generator=seeds.generator(3, step=2, purpose="latents", index=7))
    again = torch.randn(5, generator=seeds.generator(3, step=2, purpose="latents", index=7))
    assert torch.equal(first, again)


def test_every_one_of_the_four_values_changes_the_numbers() -> None:
    numbers = {
        seeds.number(0, step=0, purpose="latents", index=0),
        seeds.number(1, step=0, purpose="latents", index=0),
        seeds.number(0, step=1, purpose="latents", index=0),
        seeds.number(0, step=0, purpose="frames", index=0),
        seeds.number(0, step=0, purpose="latents", index=1),
    }
    assert len(numbers) == 5
    assert all(0 <= number < 2**63 for number in numbers)


def test_an_epoch_shows_every_prompt_once_and_the_next_in_another_order() -> None:
    videos = [seeds.prompt_of_video(5, video=video, prompts=12) for video in range(36)]
    epochs = [videos[:12], videos[12:24], videos[24:]]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_video_gets_its_prompt_whatever_was_asked_before() -> None:
    forwards = [seeds.prompt_of_video(5, video=video, prompts=7) for video in range(50)]
    backwards = [seeds.prompt_of_video(5, video=video, prompts=7) for video in reversed(range(50))]
    assert forwards == backwards[::-1]
