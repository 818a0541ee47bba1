from __future__ import annotations

from pathlib import Path

import torch

from vader_core.rewards.mps_layers import CrossAttention, CrossAttentionConfig

SMALL = CrossAttentionConfig(width=16, layers=2, heads=2, head_width=4, expansion=2)


def test_hidden_prompt_tokens_have_no_part_in_the_result() -> None:
    torch.manual_seed(0)
    model = CrossAttention(SMALL)
    image, prompt = torch.randn(2, 5, 16), torch.randn(2, 4, 16)
    visible = torch.tensor([[True, False, True, False]] * 2)
    seen = model(image, prompt, visible)
    for token, matters in enumerate(visible[0].tolist()):
        changed = prompt.clone()
        changed[:, token] += 1
        assert torch.allclose(model(image, changed, visible), seen) is not matters


def test_saved_layers_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = CrossAttention(SMALL)
    model.save_pretrained(tmp_path)
    again = CrossAttention.from_pretrained(tmp_path)
    image, prompt = torch.randn(1, 5, 16), torch.randn(1, 4, 16)
    visible = torch.ones(1, 4, dtype=torch.bool)
    assert again.config == SMALL
    assert torch.equal(again(image, prompt, visible), model(image, prompt, visible))
