"""The methods as a catalogue tells of them: what each does, needs and rests on. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from vader_core.method_spec import GRADIENT_FREE, SETTINGS, MethodSettings


@dataclass(frozen=True)
class MethodRow:
    """One method. `summary` says in a line what it learns from; `paper` is its source."""

    id: str
    title: str
    summary: str
    paper: str

    @property
    def settings(self) -> type[MethodSettings]:
        """What a spec's `method` may say for it."""
        return SETTINGS[self.id]

    @property
    def needs_gradient(self) -> bool:
        """Whether it can train on differentiable rewards alone."""
        return self.id not in GRADIENT_FREE

    def settings_schema(self) -> dict[str, JsonValue]:
        """The JSON Schema of the settings, defaults included."""
        return self.settings.model_json_schema()


_ROWS = [
    MethodRow(
        id="reward_gradient",
        title="VADER's reward gradient",
        summary="The reward's gradient through the decoder and some denoising steps.",
        paper="arXiv 2407.08737",
    ),
    MethodRow(
        id="ddpo",
        title="DDPO",
        summary="Policy gradient over the denoising steps, rewards normalised by prompt.",
        paper="arXiv 2305.13301",
    ),
    MethodRow(
        id="grpo",
        title="Flow-GRPO",
        summary="Policy gradient with advantages within the videos of one prompt, and a pull to the base model.",
        paper="arXiv 2505.05470",
    ),
    MethodRow(
        id="nft",
        title="DiffusionNFT",
        summary="Regression towards well scored videos and away from others, without likelihoods.",
        paper="arXiv 2509.16117",
    ),
    MethodRow(
        id="dpo",
        title="Diffusion-DPO",
        summary="Preference of the best over the worst video of a prompt, as the reward ranks them.",
        paper="arXiv 2311.12908",
    ),
    MethodRow(
        id="sft_best",
        title="best-of-n fine-tuning",
        summary="Denoising loss on the model's own best videos, or on all weighted by reward.",
        paper="arXiv 2304.06767",
    ),
]
METHODS = {row.id: row for row in _ROWS}
