from __future__ import annotations

from pathlib import Path

import torch

from tests.vader_core.rewards import small_detectors
from vader_core.rewards.grounding_dino import make_repeatable


def test_repeatable_form_gives_the_models_own_logits_and_gradients(tmp_path: Path) -> None:
    model = small_detectors.grounding_dino(tmp_path).double()
    tokens = torch.tensor([[101, 200, 201, 1012, 102]]).expand(2, -1)
    pixels = torch.randn(2, 3, 48, 70, generator=torch.Generator().manual_seed(0)).double()
    found = []
    for repeatable in (False, True):
        if repeatable:
            make_repeatable(model)
        leaf = pixels.clone().requires_grad_()
        logits = model(pixel_values=leaf, input_ids=tokens).logits[..., :5]
        (gradient,) = torch.autograd.grad(logits.square().sum(), leaf)
        found.append((logits.detach(), gradient))
    (plain, plain_gradient), (logits, gradient) = found
    assert torch.allclose(logits, plain, atol=1e-12)
    assert torch.allclose(gradient, plain_gradient, atol=1e-9, rtol=1e-6)


def test_repeatable_form_uses_no_sampling_without_a_repeatable_gradient(tmp_path: Path) -> None:
    model = small_detectors.grounding_dino(tmp_path)
    make_repeatable(model)
    leaf = torch.rand(1, 3, 70, 70, requires_grad=True)
    tokens = torch.tensor([[101, 200, 1012, 102]])
    with torch.profiler.profile() as profile:
        model(pixel_values=leaf, input_ids=tokens).logits[..., 1].sum().backward()
    assert not [event.key for event in profile.key_averages() if "grid_sampler" in event.key]
