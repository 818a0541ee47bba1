"""Whether a pipeline is of the usual form, and what has to be known of it, found out when it is loaded.

The usual form: one denoiser, called a fixed number of times per step of the scheduler; `encode_prompt`
takes a prompt and a negative prompt and returns embeddings under the names of the call's arguments;
`prepare_latents` takes the size and the latents; latents are a grid of (B, C, f, H, W).

The dry run replaces the denoiser by a stand-in that predicts nothing and notes what it is called with.
Conditional embeddings are all ones in it and unconditional ones all twos, which tells the branches of
its calls apart. Then the frames that our decoder makes are compared with the pipeline's own.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import JsonValue

from vader_core.catalogue import BaseModelRow
from vader_core.decoders import decode
from vader_core.devices import Compute
from vader_core.errors import WeightsUnreadable
from vader_core.families.family import Conditions, Embeds, Family, GuidanceCalls, Request
from vader_core.families.generic_decoder import decoder_of
from vader_core.patching import replaced
from vader_core.spec import Video

NEGATIVE = "negative_"
_CALL = (
    "guidance_scale",
    "height",
    "latents",
    "num_inference_steps",
    "output_type",
    "return_dict",
    "width",
)
_LATENTS = ("batch_size", "device", "generator", "height", "latents", "width")
_VIDEOS, _STEPS = 2, 2
_COND, _UNCOND = 1.0, 2.0
_LARGEST_DIFFERENCE = 1e-3
_MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Findings:
    """The denoiser's calls of a step with and without guidance, and what `prepare_latents` is given."""

    guided: GuidanceCalls
    plain: GuidanceCalls
    latents_arguments: Mapping[str, Any]


def found_out(pipeline: Any, row: BaseModelRow, family: Family) -> Findings:
    """What has to be known of `pipeline`. Raises `WeightsUnreadable` with everything that does not fit."""
    missing = _signature_faults(pipeline, row)
    if not missing:
        probe = _Probe(pipeline, row, family)
        try:
            with torch.no_grad():
                return probe.findings()
        except _MISFITS as error:
            missing = [f"a dry run of {_STEPS} steps: {type(error).__name__}: {error}"]
    raise WeightsUnreadable(
        f"{row.pipeline_class} does not fit the generic description: {'; '.join(missing)}.",
        hint="Write a family of its own for it, as the modules of vader_core.families are.",
    )


def own_arguments(pipeline: Any, *, all_names: bool = False) -> dict[str, Any]:
    """What the call takes that a job does not set; with `all_names` everything that it takes."""
    parameters = _parameters(type(pipeline).__call__)
    if all_names:
        return {name: parameter.default for name, parameter in parameters.items()}
    # Sizes are the catalogue's, and a default text is refused beside embeddings.
    fixed = {"negative_prompt": None, "use_resolution_binning": False}
    return {name: value for name, value in fixed.items() if name in parameters}


def encode_options(pipeline: Any) -> dict[str, Any]:
    """What `encode_prompt` is given besides the texts: what the pipeline's own call would give it."""
    called = {**own_arguments(pipeline, all_names=True), **pipeline.row_call}
    taken = _parameters(pipeline.encode_prompt)
    texts = {"prompt", "negative_prompt", "device", "dtype"}
    options = {
        name: called[name]
        for name in taken
        if name in called and name not in texts and "embeds" not in name and "mask" not in name
    }
    if "do_classifier_free_guidance" in taken:
        options["do_classifier_free_guidance"] = True
    if "max_sequence_length" in options:
        longest = pipeline.tokenizer.model_max_length
        options["max_sequence_length"] = min(options["max_sequence_length"], longest)
    return options


def returned_embeds(pipeline: Any) -> list[str]:
    """The names of what `encode_prompt` returns, read from its source; empty where they are no names."""
    source = textwrap.dedent(inspect.getsource(type(pipeline).encode_prompt))
    (function,) = ast.parse(source).body
    statements = function.body if isinstance(function, ast.FunctionDef) else []
    last = statements[-1].value if statements and isinstance(statements[-1], ast.Return) else None
    parts = last.elts if isinstance(last, ast.Tuple) else []
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) else []


def frames_argument(function: Callable[..., Any]) -> str:
    """What `function` calls the number of frames."""
    return "num_frames" if "num_frames" in _parameters(function) else "frames"


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _signature_faults(pipeline: Any, row: BaseModelRow) -> list[str]:
    call = _parameters(type(pipeline).__call__)
    faults = [f"its call takes no {name}" for name in _CALL if name not in call]
    if frames_argument(type(pipeline).__call__) not in call:
        faults.append("its call takes no num_frames")
    denoisers = [name for name in ("transformer", "unet") if getattr(pipeline, name, None)]
    if len(denoisers) != 1:
        faults.append(f"it has {len(denoisers)} denoisers named transformer or unet, not one")
    if getattr(pipeline, "transformer_2", None) is not None:
        faults.append("it has a second denoiser, transformer_2")
    if getattr(pipeline, "vae", None) is None:
        faults.append("it has no autoencoder named vae")
    if row.needs_image:
        faults.append("its row needs first images, which pipelines take in different ways")
    return faults + _encoder_faults(pipeline, call) + _latents_faults(pipeline)


def _encoder_faults(pipeline: Any, call: Mapping[str, Any]) -> list[str]:
    if not hasattr(pipeline, "encode_prompt"):
        return ["it has no encode_prompt"]
    taken = _parameters(pipeline.encode_prompt)
    faults = [
        f"encode_prompt takes no {name}"
        for name in ("prompt", "negative_prompt", "device")
        if name not in taken
    ]
    names = returned_embeds(pipeline)
    if not names:
        return [*faults, "encode_prompt does not return embeddings by name"]
    return faults + [
        f"encode_prompt returns {name}, which its call does not take"
        for name in names
        if name not in call
    ]


def _latents_faults(pipeline: Any) -> list[str]:
    if not hasattr(pipeline, "prepare_latents"):
        return ["it has no prepare_latents"]
    taken = _parameters(pipeline.prepare_latents)
    wanted = (*_LATENTS, frames_argument(pipeline.prepare_latents))
    return [f"prepare_latents takes no {name}" for name in wanted if name not in taken]


@dataclass
class _Notes:
    """What was seen in one dry run: the calls of every step, and the arguments of `prepare_latents`."""

    steps: list[GuidanceCalls] = field(default_factory=list)
    pending: list[tuple[Any, ...]] = field(default_factory=list)
    latents_arguments: dict[str, Any] = field(default_factory=dict)


class _Probe:
    """Dry runs of the smallest legal video with more than one latent frame."""

    def __init__(self, pipeline: Any, row: BaseModelRow, family: Family) -> None:
        self._pipeline, self._row, self._family = pipeline, row, family
        self._denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
        sizes, frames = row.sizes, row.sizes.frames()
        self._video = Video(
            width=sizes.sides(sizes.widths)[0],
            height=sizes.sides(sizes.heights)[0],
            num_frames=frames[min(1, len(frames) - 1)],
            fps=row.defaults.fps,
            inference_steps=_STEPS,
            guidance_scale=max(row.defaults.guidance_scale, 2.0),
        )
        compute = Compute(torch.device("cpu"), self._denoiser.dtype)
        encoded = family.encode(pipeline, "", compute)
        self._conditions = Conditions(_marked(encoded, _COND), _marked(encoded, _UNCOND))

    def findings(self) -> Findings:
        """Raises `ValueError`, or whatever the pipeline raises, where something does not fit."""
        notes, drawn = self._run(self._video, {"latents": None})
        plain, _ = self._run(
            self._video.model_copy(update={"guidance_scale": 1.0}), {"latents": None}
        )
        if drawn.ndim != 5:
            raise ValueError(f"its latents have {drawn.ndim} dimensions, not 5")
        self._compare_frames()
        return Findings(_each_step(notes), _each_step(plain), notes.latents_arguments)

    def _run(
        self, video: Video, changes: Mapping[str, JsonValue | torch.Tensor]
    ) -> tuple[_Notes, torch.Tensor]:
        """The notes of a dry run, and what the pipeline returns."""
        pipeline, notes = self._pipeline, _Notes()
        request = Request(self._conditions, torch.zeros(0), video, self._row.call)
        arguments = {**self._family.call(pipeline, request), **changes}
        step, prepare_latents = pipeline.scheduler.step, pipeline.prepare_latents
        bound = inspect.signature(prepare_latents)

        def stepped(*args: Any, **kwargs: Any) -> Any:
            notes.steps.append(tuple(notes.pending))
            notes.pending.clear()
            return step(*args, **kwargs)

        def prepared(*args: Any, **kwargs: Any) -> Any:
            notes.latents_arguments.update(bound.bind(*args, **kwargs).arguments)
            return prepare_latents(*args, **kwargs)

        def predicted(*args: Any, **kwargs: Any) -> tuple[torch.Tensor]:
            notes.pending.append(_branches([*args, *kwargs.values()]))
            return (self._prediction(args, kwargs),)

        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.enter_context(replaced(self._denoiser, "forward", predicted))
            stack.enter_context(replaced(pipeline.scheduler, "step", stepped))
            stack.enter_context(replaced(pipeline, "prepare_latents", prepared))
            pipeline.set_progress_bar_config(disable=True)
            pipeline_class: Any = type(pipeline)
            output = pipeline_class.__call__.__wrapped__(pipeline, **arguments)
        return notes, self._family.result(output)

    def _prediction(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor:
        noisy = args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))
        if not isinstance(noisy, torch.Tensor) or noisy.ndim != 5:
            raise ValueError("its denoiser is not given a grid of latents (B, C, f, H, W)")
        config = self._denoiser.config
        if config.get("out_channels") in {None, config.get("in_channels")}:
            return torch.zeros_like(noisy)
        return noisy.new_zeros((len(noisy), config["out_channels"], *noisy.shape[2:]))

    def _compare_frames(self) -> None:
        """Raises `ValueError` where our decoder does not give the pipeline's own frames."""
        _, drawn = self._run(self._video, {"latents": None})
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(drawn.shape, generator=generator)
        _, latents = self._run(self._video, {"latents": noise})
        _, own = self._run(self._video, {"latents": noise, "output_type": "pt"})
        every = torch.arange(self._video.num_frames or 1).repeat(_VIDEOS, 1)
        found = decode(decoder_of(self._pipeline.vae), latents, every, chunk_frames=4)
        if found.shape != own.shape:
            raise ValueError(f"its frames are {tuple(own.shape)}, ours {tuple(found.shape)}")
        difference = float((found - own.to(found)).abs().max())
        if difference > _LARGEST_DIFFERENCE:
            raise ValueError(f"its frames differ from ours by up to {difference:.3g}")


def _marked(encoded: Embeds, mark: float) -> Embeds:
    """Rows for two videos; embeddings are full of `mark`, masks stay as they are."""
    return {
        name: torch.cat(
            [torch.full_like(rows, mark) if rows.is_floating_point() else rows] * _VIDEOS
        )
        for name, rows in encoded.items()
    }


def _branches(values: list[Any]) -> tuple[str, ...]:
    """The branches that a call stacks, by the marks in its arguments."""
    tensors = [v for v in values if isinstance(v, torch.Tensor) and v.ndim > 2]
    for tensor in tensors:
        smallest, largest = tensor.flatten(1).aminmax(dim=1)
        names = [{_COND: "cond", _UNCOND: "uncond"}.get(float(one)) for one in smallest]
        if torch.equal(smallest, largest) and all(names) and len(names) % _VIDEOS == 0:
            return tuple(str(name) for name in names[::_VIDEOS])
    raise ValueError("the embeddings do not reach its denoiser as they are")


def _each_step(notes: _Notes) -> GuidanceCalls:
    """The calls of every step, which have to be the same."""
    if len(notes.steps) != _STEPS or len(set(notes.steps)) != 1:
        raise ValueError(
            f"its denoiser's calls differ between the scheduler's steps: {notes.steps}"
        )
    calls = notes.steps[0]
    if sum(branches.count("cond") for branches in calls) != 1:
        raise ValueError(f"a step has not one conditional prediction: {calls}")
    return calls
