"""Which prediction stands in for the unconditional one, by the order of a pipeline's calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.vader_core.tiny_models import scene
from vader_core.errors import SpecUnusable
from vader_core.families.family import GuidanceCalls
from vader_core.gate import Gate, GateSettings

ROWS = {"cond": 1.0, "uncond": -1.0}


def answers(calls: GuidanceCalls, **settings: Any) -> list[list[float]]:
    """Of a denoiser that predicts its input: 1 with the prompt, -1 without."""
    base = scene("tiny-wan", inference_steps=2).base
    base.pipeline.scheduler.set_timesteps(2)
    gate = Gate(base, GateSettings(videos=1, calls=calls, **settings))
    return [
        gate.call(
            base.denoiser,
            lambda shown, return_dict: (shown,),
            torch.tensor([[ROWS[branch]] for branch in branches]),
            return_dict=False,
        )[0]
        .flatten()
        .tolist()
        for branches in calls
    ]


def test_alone_the_conditional_prediction_stands_for_both() -> None:
    alone = {"conditional_only": True}
    assert answers((("cond",), ("uncond",)), **alone) == [[1], [1]]
    assert answers((("uncond", "cond"),), **alone) == [[1, 1]]
    assert answers((("uncond", "cond"), ("uncond",)), **alone) == [[1, 1], [1]]
    assert answers((("cond",), ("uncond", "cond"), ("uncond",)), **alone) == [[1], [1, 1], [1]]


def test_a_pipeline_that_begins_without_the_prompt_is_refused() -> None:
    with pytest.raises(SpecUnusable, match="predicts without the prompt before"):
        answers((("uncond",), ("cond",)), conditional_only=True)
    assert answers((("uncond",), ("cond",))) == [[-1], [1]]


@pytest.mark.parametrize("graph", [True, False])
def test_calls_are_split_alike_with_a_graph_and_without(graph: bool) -> None:
    base = scene("tiny-unet", inference_steps=2).base
    base.pipeline.scheduler.set_timesteps(2)
    seen: list[tuple[int, bool]] = []
    settings = GateSettings(
        videos=3,
        calls=(("uncond", "cond"),),
        gradient_steps=frozenset({0}),
        branches_with_gradient=frozenset({"cond"}),
        graph=graph,
    )

    def forward(shown: torch.Tensor, *, return_dict: bool) -> tuple[torch.Tensor]:
        assert not return_dict
        seen.append((len(shown), torch.is_grad_enabled()))
        return (shown,)

    gate = Gate(base, settings)
    with torch.enable_grad():
        for _ in range(2):
            gate.call(base.denoiser, forward, torch.zeros(6, 1), return_dict=False)
            gate.step_done()
    assert seen == [(3, False), (3, graph), (6, False)]
