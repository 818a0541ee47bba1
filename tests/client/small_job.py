"""A job file that trains in seconds."""

from __future__ import annotations

from pathlib import Path

SPEC = """
name: small
base_model: tiny-unet
method: {batch_size: 1, gradient_accumulation: 1, gradient_checkpointing: false}
rewards: [{reward: tiny-action}]
prompts:
  inline:
    - {prompt: a red circle moving left, target: moving left, heldout: false}
    - {prompt: a blue square moving up, target: moving up, heldout: true}
video: {num_frames: 4, inference_steps: 2}
budget: {max_steps: %d}
evaluation: {num_prompts: 1, seeds: [1], samples_to_keep: 1}
"""


def written(folder: Path, *, steps: int = 2) -> Path:
    path = folder / "job.yaml"
    path.write_text(SPEC % steps)
    return path
