"""The estimate beside what the same step really holds, on the CPU, and beside published sizes."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import JsonValue
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vader_core import adapter as adapters
from vader_core import base_models
from vader_core.__main__ import main
from vader_core.catalogue import BUILT_IN
from vader_core.devices import Compute
from vader_core.errors import SpecUnusable
from vader_core.memory import estimate
from vader_core.memory_configs import CONFIGS, written
from vader_core.memory_kernels import cuda_kernels
from vader_core.memory_ledger import META, Ledger
from vader_core.memory_stages import Counting, stages
from vader_core.memory_table import MemoryEstimate, table
from vader_core.objective import load_objective
from vader_core.resolve import check
from vader_core.spec import JobSpec
from vader_core.weights import without_weights

CPU = torch.device("cpu")
# Of the denoiser: what the models are called by. Papers and model cards of the rows' sources.
PUBLISHED_BILLIONS = {
    "wan2.1-t2v-1.3b": 1.3,
    "wan2.1-t2v-14b": 14,
    "wan2.2-ti2v-5b": 5,
    "cogvideox-2b": 2,
    "cogvideox-5b": 5,
    "hunyuan-video": 13,
    "mochi-1-preview": 10,
    "ltx-video": 2,
    "ltx-video-0.9.7-13b": 13,
    "svd-xt": 1.5,
    "open-sora-1.2": 1.1,
}


def spec(base_model: str, **method: Any) -> JobSpec:
    document: JsonValue = {
        "base_model": base_model,
        "method": {"precision": "fp32", "batch_size": 1, **method},
        "adapter": {"rank": 4},
        "rewards": [{"reward": "tiny-text-match"}],
        "guards": [],
        "prompts": {
            "inline": [
                {"prompt": "a red circle moving left", "heldout": False},
                {"prompt": "a blue square moving up", "heldout": True},
            ]
        },
        "video": {"num_frames": 5, "inference_steps": 2},
        "budget": {"max_steps": 1},
    }
    return check(document, BUILT_IN, lambda _: None)


@functools.cache
def estimated(base_model: str, **method: Any) -> MemoryEstimate:
    return estimate(spec(base_model, **method), BUILT_IN)


def measured(asked: JobSpec) -> dict[str, int]:
    """What the stages of a real step hold, counted while it computes on the CPU."""
    ledger = Ledger(CPU)
    compute = Counting(CPU, torch.float32, ledger)
    base = base_models.load(BUILT_IN.base_models[asked.base_model.partition("@")[0]], compute)
    objective = load_objective(asked, BUILT_IN, compute)
    prompts = [(asked.prompts.inline or [])[0]] * asked.method.batch_size
    conditions = base.conditions(prompts, asked.video)
    base.drop_text_encoders()
    adapter = adapters.attach(base, asked.adapter, seed=0)
    for _, parameter in adapter.parameters():
        parameter.grad = torch.zeros_like(parameter)
        ledger.hold([parameter.grad])
    ledger.hold(tensors(base.pipeline.components))
    ledger.hold(tensors(objective.reward.terms))
    return stages(base, objective, asked, conditions, ledger)


def tensors(owner: Any) -> list[torch.Tensor]:
    """The weights of all modules that an object holds, however deep."""
    if isinstance(owner, nn.Module):
        return [*owner.parameters(), *owner.buffers()]
    if isinstance(owner, (list, tuple)):
        return [tensor for part in owner for tensor in tensors(part)]
    if isinstance(owner, dict):
        return tensors(list(owner.values()))
    is_ours = type(owner).__module__.startswith("vader_core.")
    return tensors(vars(owner)) if is_ours and hasattr(owner, "__dict__") else []


@pytest.mark.parametrize("method", ["reward_gradient", "grpo"])
@pytest.mark.parametrize("base_model", ["tiny-unet", "tiny-wan"])
def test_a_step_holds_what_is_estimated(base_model: str, method: str) -> None:
    found = estimated(base_model, type=method).stages
    real = measured(spec(base_model, type=method))
    assert set(found) == set(real)
    largest = max(real.values())
    assert max(found.values()) == pytest.approx(largest, rel=0.05)
    for stage, held in real.items():
        assert found[stage] == pytest.approx(held, rel=0.05, abs=0.02 * largest), stage


def test_weights_adapter_and_optimiser_are_counted_exactly() -> None:
    found = estimated("tiny-wan")
    base = base_models.load(BUILT_IN.base_models["tiny-wan"], Compute(CPU, torch.float32))
    adapter = adapters.attach(base, spec("tiny-wan").adapter, seed=0)
    masters = sum(4 * parameter.numel() for _, parameter in adapter.parameters())
    vae = sum(4 * parameter.numel() for parameter in base.pipeline.vae.parameters())
    assert found.adapter == pytest.approx(masters, abs=512 * len(adapter.parameters()))
    assert found.optimiser == 2 * found.adapter == 2 * found.gradients
    assert found.base_model["vae"] == pytest.approx(vae, rel=0.001)
    held = sum(found.base_model.values()) + found.rewards + 4 * found.adapter
    expected = held + max(found.stages.values())
    assert found.training == pytest.approx(expected, rel=0.01)
    assert found.peak == max(found.training, found.loading)


def test_memory_grows_with_what_the_method_keeps() -> None:
    plain = estimated("tiny-wan").stages
    assert estimated("tiny-wan", differentiable_steps=2).stages["last_k"] > plain["last_k"]
    assert estimated("tiny-wan", guidance_gradient="both").stages["last_k"] > plain["last_k"]
    free = estimated("tiny-wan", gradient_checkpointing=False).stages
    assert free["last_k"] > plain["last_k"]
    assert estimated("tiny-wan", decode_chunk_frames=1).stages["reward"] < plain["reward"]


def test_gradient_free_methods_keep_no_graph_but_that_of_one_step() -> None:
    gradient = estimated("tiny-wan", differentiable_steps=2)
    policy, regression = estimated("tiny-wan", type="grpo"), estimated("tiny-wan", type="nft")
    assert policy.stages["decode"] < gradient.stages["decode"]
    assert policy.stages["reward"] < gradient.stages["reward"]
    assert regression.stages["learning"] < policy.stages["learning"]
    assert policy.adapter == gradient.adapter


def test_the_latents_of_a_whole_step_are_counted() -> None:
    one, three = (
        estimated("tiny-wan", type="nft", group_size=2, batch_size=2, gradient_accumulation=count)
        for count in (1, 3)
    )
    base = base_models.load(BUILT_IN.base_models["tiny-wan"], Compute(CPU, torch.float32))
    latents = 4 * math.prod(base.latents_shape(spec("tiny-wan").video, batch=2))
    assert {three.stages[name] - one.stages[name] for name in one.stages} == {2 * latents}


def test_every_stage_of_a_gradient_free_step_is_its_own() -> None:
    """Told apart by what changes each of them; what is left is the decoding."""
    method = {"type": "ddpo", "gradient_accumulation": 1}

    def changed(plain: JobSpec, other: JobSpec) -> set[str]:
        one, two = (estimate(asked, BUILT_IN).stages for asked in (plain, other))
        return {name for name in one if one[name] != two[name]}

    wan, unet = spec("tiny-wan", **method), spec("tiny-unet", **method)
    assert changed(wan, spec("tiny-wan", **method, decode_chunk_frames=1)) == {"reward"}
    assert changed(wan, spec("tiny-wan", **method, gradient_checkpointing=False)) == {"learning"}
    unguided = unet.video.model_copy(update={"guidance_scale": 1.0})
    of_denoiser = changed(unet, unet.model_copy(update={"video": unguided}))
    assert of_denoiser == {"sampling", "learning"}


def test_the_most_steps_with_gradient_are_counted_wherever_they_lie() -> None:
    two = estimated("tiny-wan", differentiable_steps=2).stages
    given = estimate(spec("tiny-wan", step_choice="given", given_steps=[0, 1]), BUILT_IN).stages
    assert given == two
    spread = estimated("tiny-wan", step_choice="random", differentiable_steps=2).stages
    assert spread == two


def test_half_precision_halves_the_denoiser_and_not_the_autoencoder() -> None:
    single, half = estimated("tiny-unet"), estimated("tiny-unet", precision="bf16")
    assert half.base_model["unet"] * 2 == single.base_model["unet"]
    assert half.base_model["vae"] == single.base_model["vae"]


def test_a_ledger_counts_tensors_while_they_live() -> None:
    with Ledger() as ledger:
        first = torch.empty(256, 4, device=META)
        view = first.t()
        second = first + 1
        assert ledger.live == 2 * 4096
        del first, second
        assert ledger.live == 4096
        del view
        assert ledger.live == 0
        ledger.mark()
    assert ledger.peaks == [8192]


def test_small_numbers_keep_their_values_beside_tensors_without() -> None:
    with Ledger():
        steps = torch.arange(4).to(META)
        large = torch.empty(4, 4096, device=META)
        assert steps[2].item() == 2
        assert (large * steps[:, None]).device == META
        assert large[torch.tensor([True, False, True, False])].shape == (2, 4096)
        assert large.sum().cpu().item() == 0


def test_attention_keeps_no_matrix_and_checkpoints_see_the_same_kernels() -> None:
    def attend(x: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(x, x, x) * 2

    with Ledger() as ledger, cuda_kernels(), torch.autocast("cpu", dtype=torch.bfloat16):
        x = torch.empty(1, 2, 2048, 64, device=META, requires_grad=True)
        found = checkpoint(attend, x, use_reentrant=False)
        assert found.dtype == torch.bfloat16
        (grad,) = torch.autograd.grad(found.sum(), x)
        ledger.mark()
    assert grad.shape == x.shape
    # A matrix of logits alone would be 2 * 2048 * 2048 numbers.
    assert ledger.peaks[0] < 2 * 2048 * 2048


@pytest.mark.parametrize("row_id", PUBLISHED_BILLIONS)
def test_configurations_give_the_published_number_of_parameters(
    row_id: str, tmp_path: Path
) -> None:
    catalogue = written(BUILT_IN, tmp_path)
    with without_weights():
        base = base_models.load(catalogue.base_models[row_id], Compute(META, torch.bfloat16))
    found = sum(parameter.numel() for parameter in base.denoiser.parameters()) / 1e9
    # "2B" may be 1.7 and "5B" 5.6: names are rounded.
    assert found == pytest.approx(PUBLISHED_BILLIONS[row_id], rel=0.16)


def test_every_configuration_belongs_to_a_row_and_every_row_of_the_table_has_one() -> None:
    known = {path.stem for path in CONFIGS.glob("*.json")}
    assert known <= set(BUILT_IN.base_models) | set(BUILT_IN.rewards)
    assert set(table()) <= known & set(BUILT_IN.base_models)
    for row_id, row in table().items():
        defaults = BUILT_IN.base_models[row_id].defaults
        assert (row.width, row.height, row.num_frames) == (
            defaults.width,
            defaults.height,
            defaults.num_frames,
        )


def test_the_command_prints_bytes_and_gib(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["memory", "--base-model", "tiny-wan", "--reward", "tiny-text-match"]
    asked += ["--width", "16", "--height", "16", "--num-frames", "3"]
    assert main([*asked, "--json"]) == 0
    found = MemoryEstimate.model_validate(json.loads(capsys.readouterr().out))
    assert found.peak > found.adapter > 0
    assert main(asked) == 0
    assert "GiB" in capsys.readouterr().out


def test_a_model_whose_configuration_is_not_known_is_refused(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert not (CONFIGS / "ltx-2.json").exists()
    asked = ["memory", "--base-model", "ltx-2", "--weights", str(tmp_path)]
    assert main(asked) == SpecUnusable.exit_status
    assert "rows/configs" in caplog.text
