"""How much GPU memory one training step takes, found by training on tensors without values.

The trainer's own code runs: the pipeline is loaded without its weights, a step is sampled, decoded,
scored and learnt from on torch's meta device (`memory_stages`), with the attention and the autocast that
torch has for CUDA devices (`memory_kernels`), and every tensor is counted while it lives (`memory_ledger`).

Not counted are what the CUDA context and the libraries' workspaces take, what the allocator loses to
fragmentation, and what a kernel uses inside itself.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import nn

from vader_core import adapter as adapters
from vader_core import base_models
from vader_core.adapter import LoraAdapter
from vader_core.base_models import BaseModel
from vader_core.catalogue import Catalogue, find_row
from vader_core.devices import Compute
from vader_core.errors import SpecUnusable
from vader_core.families.family import Conditions, Embeds, required_size
from vader_core.memory_configs import Embed, base_model_configs
from vader_core.memory_kernels import cuda_kernels
from vader_core.memory_ledger import META, Ledger
from vader_core.memory_stages import Counting, prompts_of, stages
from vader_core.memory_table import MemoryEstimate
from vader_core.objective import load_objective
from vader_core.spec import JobSpec
from vader_core.weights import without_weights

BASIS = (
    "computed from the classes' shapes, one training step on torch's meta device; without the CUDA "
    "context, the libraries' workspaces and fragmentation"
)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def estimate(spec: JobSpec, catalogue: Catalogue) -> MemoryEstimate:
    """The memory of one step of a resolved spec, whose precision "auto" is taken for bf16.

    `stages` are those of `vader_core.memory_stages`.
    `catalogue` leads to folders with configurations; weights are not read, and a variant's LoRA, which is
    merged, takes nothing. Raises `WeightsUnreadable` where a configuration cannot be read, and
    `SpecUnusable` where a model's shapes depend on values.
    """
    ledger = Ledger()
    compute = Counting(META, _DTYPES.get(spec.method.precision, torch.bfloat16), ledger)
    with without_weights():
        base = _load(spec, catalogue, compute)
        parts = {name: _bytes(part) for name, part in _models(base)}
        reach = spec.method.reach(spec.video.inference_steps or 1)
        learning = base.family.trained(base.pipeline, spec.video, differentiable_steps=reach)
        with ledger:
            objective = load_objective(spec, catalogue, compute)
    rewards = ledger.live
    conditions = conditions_of(base, spec)
    base.drop_text_encoders()
    staying = {name: parts[name] for name, _ in _models(base)}
    for _, part in _models(base):
        ledger.hold([*part.parameters(), *part.buffers()])
    adapter = adapters.attach(base, spec.adapter, seed=spec.seed, denoisers=learning)
    masters = ledger.hold([parameter for _, parameter in adapter.parameters()])
    gradients = _hold_gradients(ledger, adapter)
    held = ledger.live
    try:
        held_by = stages(base, objective, spec, conditions, ledger)
    except NotImplementedError as error:
        raise SpecUnusable(
            f"The memory of this job cannot be computed: something depends on values ({error}).",
            hint="Run a job of one step: its step line has the peak.",
        ) from error
    # AdamW keeps two moments of every weight.
    training = held + 2 * masters + max(held_by.values())
    loading = sum(parts.values()) + rewards + masters
    return MemoryEstimate(
        base_model=staying,
        rewards=rewards,
        adapter=masters,
        gradients=gradients,
        optimiser=2 * masters,
        stages=held_by,
        training=training,
        loading=loading,
        peak=max(training, loading),
    )


def _load(spec: JobSpec, catalogue: Catalogue, compute: Compute) -> BaseModel:
    row = find_row(spec.base_model, catalogue.base_models)
    if row is None:
        raise ValueError(f"the spec is not resolved: {spec.base_model!r} is not in the catalogue")
    return base_models.load(row, compute)


def _models(base: BaseModel) -> list[tuple[str, nn.Module]]:
    parts = base.pipeline.components.items()
    return [(name, part) for name, part in parts if isinstance(part, nn.Module)]


def _bytes(part: nn.Module) -> int:
    tensors = {id(one): one for one in (*part.parameters(), *part.buffers())}
    return sum(one.numel() * one.element_size() for one in tensors.values())


def _hold_gradients(ledger: Ledger, adapter: LoraAdapter) -> int:
    """Gradients are accumulated over micro-batches, so they are there while the next one is sampled."""
    for _, parameter in adapter.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return ledger.hold([p.grad for _, p in adapter.parameters() if p.grad is not None])


def conditions_of(base: BaseModel, spec: JobSpec) -> Conditions:
    """What the first B videos are made from: embeddings of the right shapes, blank first images.

    Where the base model's folder has a tokenizer, they are its own embeddings of the spec's prompts.
    """
    batch, video = spec.method.batch_size, spec.video
    configs = base_model_configs(base.row.id)
    if getattr(base.pipeline, "tokenizer", None) is not None or configs is None:
        prompts = prompts_of(spec)
        with Ledger(), cuda_kernels():
            return base.conditions(prompts, video)
    cond, uncond = (_embeds(configs.embeds, base.compute, batch) for _ in range(2))
    images = None
    if base.row.needs_image:
        _, height, width = required_size(video)
        images = [Image.new("RGB", (width, height))] * batch
    return Conditions(cond, uncond, images)


def _embeds(wanted: dict[str, Embed], compute: Compute, batch: int) -> Embeds:
    dtypes = {"compute": compute.dtype, "precise": compute.precise_dtype}

    def one(embed: Embed) -> torch.Tensor:
        if embed.dtype == "mask":
            return torch.ones(batch, *embed.shape, dtype=torch.int64)
        shape = (batch, *embed.shape)
        return torch.zeros(shape, dtype=dtypes[embed.dtype], device=compute.device)

    return {name: one(embed) for name, embed in wanted.items()}
