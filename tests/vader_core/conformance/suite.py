"""What must hold for every base model, checked on a small random pipeline of its classes.

A test module subclasses `Conformance` once for every pipeline that it builds. The reference is the
pipeline's own call, given prompts and not embeddings, in one graph from text to frames; predictions are
cut by forward hooks, as Algorithm 1 of VADER (arXiv 2407.08737) cuts them. Nothing of that is
vader_core's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image

from vader_core import adapter as adapters
from vader_core import base_models, seeds
from vader_core.adapter import LoraAdapter
from vader_core.base_models import BaseModel
from vader_core.catalogue import BUILT_IN, BaseModelRow, Catalogue
from vader_core.devices import Compute
from vader_core.errors import SpecUnusable
from vader_core.families.family import Conditions, Request
from vader_core.faults import Fault, InvalidSpec
from vader_core.method_spec import RewardGradient
from vader_core.resolve import resolve, with_defaults
from vader_core.rollout import Batch, Visit, generate, record, sample, visit
from vader_core.spec import Adapter, JobSpec, Prompt, Video
from vader_core.stepping import StepCall

TEXTS = ["a red circle moving left", "a blue square moving up"]


@dataclass
class Subject:
    """A small base model with an adapter that already changes something, and two videos to be made."""

    base: BaseModel
    adapter: LoraAdapter
    video: Video
    prompts: list[Prompt]
    conditions: Conditions
    noise: torch.Tensor
    text_encoders: dict[str, Any]

    @property
    def pipeline(self) -> Any:
        return self.base.pipeline

    def chosen(self) -> torch.Tensor:
        """Frames that differ between the videos, without the last of either where there are enough."""
        frames = self.video.num_frames or 1
        if frames < 4:
            return torch.zeros(2, 1, dtype=torch.long)
        return torch.tensor([[0, frames - 2], [1, frames - 2]])

    def latents(self, **method: Any) -> torch.Tensor:
        """Latents (B, C, f, H, W) of a rollout, with their graph."""
        return sample(
            Batch(self.base, self.conditions, self.noise, self.video, step_noise("steps")),
            method=RewardGradient(**method),
        ).latents_BCfHW

    def gradient(self, loss: torch.Tensor) -> torch.Tensor:
        """The adapter's gradient of `loss` as one vector."""
        parameters = [parameter for _, parameter in self.adapter.parameters()]
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        parts = [
            torch.zeros_like(parameter) if grad is None else grad
            for parameter, grad in zip(parameters, grads, strict=True)
        ]
        return torch.cat([part.flatten() for part in parts])


class Conformance:
    """The checks; a subclass says what is built, how precisely it computes, and what its call takes."""

    build: ClassVar[Callable[[Path], BaseModelRow]]
    # Classes that round to float32 somewhere are compared less strictly.
    dtype: ClassVar[torch.dtype] = torch.float64
    tolerance: ClassVar[float] = 1e-6
    # Whether the scheduler adds noise at every step.
    stochastic: ClassVar[bool] = False
    # Whether a denoising step can be looked at again by itself.
    revisitable: ClassVar[bool] = True

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        """Changes to what the pipeline's own call is given; `arguments` has prompts in place of embeddings."""
        del subject
        return arguments

    @staticmethod
    def returned(latents: torch.Tensor) -> torch.Tensor:
        """Of the latents that are decoded, those that the pipeline's call returns for output_type "latent"."""
        return latents

    @staticmethod
    def frames_of(output: Any) -> torch.Tensor:
        """The frames (B, F, 3, H, W) in what the call returns for output_type "pt"."""
        frames: torch.Tensor = output[0]
        return frames

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> Subject:
        folder = tmp_path_factory.mktemp(cls.__name__.lower())
        return make_subject(cls.build(folder), folder / "images", cls.dtype)

    @pytest.mark.parametrize(
        ("steps", "branches", "chunk_frames"), [(1, "conditional", 1), (2, "both", 100)]
    )
    def test_gradient_is_that_of_plain_autograd_through_the_pipelines_own_call(
        self, subject: Subject, steps: int, branches: str, chunk_frames: int
    ) -> None:
        """From text to the chosen frames, with and without activation checkpoints."""
        plain = _chosen(self.plain_frames(subject, steps=steps, branches=branches), subject)
        direction = torch.randn(plain.shape, generator=torch.Generator().manual_seed(5))
        expected = subject.gradient((plain * direction.to(plain)).sum())
        assert expected.norm() > 1e-9
        for checkpointing in (True, False):
            latents = subject.latents(
                differentiable_steps=steps,
                guidance_gradient=branches,
                gradient_checkpointing=checkpointing,
            )
            frames = subject.base.decode(latents, subject.chosen(), chunk_frames=chunk_frames)
            assert torch.allclose(frames, plain.detach().to(frames), atol=1e-4)
            found = subject.gradient((frames * direction.to(frames)).sum())
            assert (found - expected).norm() < self.tolerance * expected.norm()

    def test_all_frames_are_the_pipelines_own_whatever_the_chunk(self, subject: Subject) -> None:
        with torch.no_grad():
            expected = self.plain_frames(subject, steps=0, branches="both")
        latents = generate(
            Batch(
                subject.base, subject.conditions, subject.noise, subject.video, step_noise("steps")
            )
        )
        assert latents.ndim == 5
        every = torch.arange(subject.video.num_frames or 1).repeat(2, 1)
        for chunk_frames in (1, 4, 100):
            found = subject.base.decode(latents, every, chunk_frames=chunk_frames)
            assert found.shape == expected.shape
            assert torch.allclose(found, expected.to(found), atol=1e-4)
        assert float(found.std()) > 0.02, "the frames of this model say nothing"

    def test_visited_steps_predict_what_the_sampler_saw(self, subject: Subject) -> None:
        """Visits call the denoiser at some steps only; what it predicts there is what it predicted before."""
        if not self.revisitable:
            with pytest.raises(SpecUnusable):
                record(_batch(subject))
            return
        outputs: list[torch.Tensor] = []

        def keep(call: StepCall) -> torch.Tensor:
            outputs.append(call.output)
            return call.own()

        recorded = record(_batch(subject), sampler=keep)
        assert torch.equal(recorded.latents_BCfHW, generate(_batch(subject)))
        steps, per_call = recorded.process.steps, len(outputs) // recorded.process.steps
        seen: list[int] = []

        def check(visit: Visit) -> None:
            seen.append(visit.index)
            expected = outputs[visit.videos.start * steps + visit.index]
            assert torch.allclose(visit.output, expected, atol=1e-5, rtol=1e-4)
            assert visit.output.requires_grad
            visit.output.square().mean().backward()

        chosen = sorted({0, steps // 2, steps - 1})
        visit(
            _batch(subject),
            inputs={index: recorded.at(index) for index in chosen},
            on_output=check,
            method=RewardGradient(),
            gradient=True,
            conditional_only=False,
        )
        assert seen == chosen * per_call
        grads = [parameter.grad for _, parameter in subject.adapter.parameters()]
        assert any(grad is not None and grad.norm() > 0 for grad in grads)
        for _, parameter in subject.adapter.parameters():
            parameter.grad = None

    def test_faults_name_the_legal_values(self, subject: Subject) -> None:
        row, video = subject.base.row, subject.video
        frames = (video.num_frames or 1) + 1
        while frames in row.sizes.frames():
            frames += 1
        faults = {
            "/video/width": _faults(subject, video={"width": (video.width or 0) + 1}),
            "/video/num_frames": _faults(subject, video={"num_frames": frames}),
            "/method/differentiable_steps": _faults(
                subject, method={"differentiable_steps": (video.inference_steps or 0) + 1}
            ),
        }
        for pointer, found in faults.items():
            (fault,) = [fault for fault in found if fault.pointer == pointer]
            assert fault.nearest
            assert fault.code == "not_in_set"
        image = None if row.needs_image else "first.png"
        (fault,) = _faults(subject, image=image)
        assert fault.pointer == "/prompts/inline/0/image"
        assert fault.code == ("missing_image" if row.needs_image else "image_not_used")

    def test_the_first_image_reaches_the_rollout(self, subject: Subject) -> None:
        if not subject.base.row.needs_image:
            assert subject.conditions.images is None
            return
        images = [image.rotate(180) for image in subject.conditions.images or []]
        turned = Conditions(subject.conditions.cond, subject.conditions.uncond, images)
        made = [
            generate(
                Batch(subject.base, conditions, subject.noise, subject.video, step_noise("steps"))
            )
            for conditions in (subject.conditions, turned)
        ]
        assert (made[0] - made[1]).abs().max() > 1e-3

    def plain_frames(self, subject: Subject, *, steps: int, branches: str) -> torch.Tensor:
        """All frames (B, F, 3, H, W) in [0, 1] by the pipeline's own call and decoding, in one graph."""
        undecorated = type(subject.pipeline).__call__.__wrapped__
        with _with_text_encoders(subject), _cut(subject, steps=steps, branches=branches):
            made = [
                undecorated(subject.pipeline, **self.plain_arguments(subject, arguments))
                for arguments in _calls(subject)
            ]
        return torch.cat([self.frames_of(output) for output in made])


def _batch(subject: Subject) -> Batch:
    return Batch(
        subject.base, subject.conditions, subject.noise, subject.video, step_noise("steps")
    )


def _calls(subject: Subject) -> list[dict[str, Any]]:
    """What the pipeline is called with, once or for every video: prompts in place of embeddings."""
    base, texts = subject.base, [prompt.prompt for prompt in subject.prompts]
    shares = [(subject.conditions, subject.noise, texts)]
    if base.family.one_video_per_call:
        each = zip(subject.conditions.each(), subject.noise.split(1), texts, strict=True)
        shares = [(conditions, noise, [text]) for conditions, noise, text in each]
    found = []
    for conditions, noise, prompts in shares:
        noise = noise.to(base.compute.precise_dtype)
        called = base.family.call(
            base.pipeline, Request(conditions, noise, subject.video, base.row.call)
        )
        embeds = {*conditions.cond, *(f"negative_{name}" for name in conditions.uncond)}
        arguments = {name: value for name, value in called.items() if name not in embeds}
        if conditions.cond:
            arguments["prompt"] = prompts
            arguments["negative_prompt"] = [subject.video.negative_prompt] * len(prompts)
        found.append({**arguments, "output_type": "pt"})
    return found


def make_subject(row: BaseModelRow, images: Path, dtype: torch.dtype) -> Subject:
    """Loads `row` with an adapter; the prompts have first images where the row needs them."""
    video = with_defaults(Video(), row)
    prompts = [Prompt(prompt=text) for text in TEXTS]
    if row.needs_image:
        images.mkdir()
        prompts = [
            prompt.model_copy(update={"image": _drawn(images / f"first-{i}.png", video, seed=i)})
            for i, prompt in enumerate(prompts)
        ]
    base = base_models.load(row, Compute(torch.device("cpu"), dtype), images=images)
    adapter = adapters.attach(
        base,
        Adapter(rank=2, alpha=4.0),
        seed=1,
        denoisers=base.family.trained(
            base.pipeline, video, differentiable_steps=video.inference_steps or 1
        ),
    )
    for index, (name, parameter) in enumerate(adapter.parameters()):
        if ".lora_B." in name:
            drawn = seeds.generator(2, step=0, purpose="stir", index=index)
            parameter.data = (0.1 * torch.randn(parameter.shape, generator=drawn)).to(parameter)
    conditions = base.conditions(prompts, video)
    text_encoders = {
        name: part for name, part in base.pipeline.components.items() if "text_encoder" in name
    }
    base.drop_text_encoders()
    shape = base.latents_shape(video, batch=1)
    noise = torch.cat([torch.randn(shape, generator=one) for one in step_noise("latents")])
    return Subject(base, adapter, video, prompts, conditions, noise, text_encoders)


def _drawn(path: Path, video: Video, *, seed: int) -> str:
    """A first image of coloured noise; its name."""
    size = (video.height or 1, video.width or 1, 3)
    values = torch.randint(256, size, generator=torch.Generator().manual_seed(seed))
    Image.fromarray(values.to(torch.uint8).numpy()).save(path)
    return path.name


def step_noise(purpose: str) -> list[torch.Generator]:
    """One generator for each of the two videos."""
    return [seeds.generator(3, step=0, purpose=purpose, index=index) for index in range(2)]


def _chosen(frames: torch.Tensor, subject: Subject) -> torch.Tensor:
    return torch.stack([frames[video, index] for video, index in enumerate(subject.chosen())])


@contextmanager
def _with_text_encoders(subject: Subject) -> Iterator[None]:
    for name, part in subject.text_encoders.items():
        setattr(subject.pipeline, name, part)
    try:
        yield
    finally:
        subject.base.drop_text_encoders()


@contextmanager
def _cut(subject: Subject, *, steps: int, branches: str) -> Iterator[None]:
    """Hooks that cut the graph at predictions before the last `steps`, and at the unconditional branch."""
    calls = subject.base.family.calls(subject.pipeline, subject.video)
    done = 0

    def cut(module: Any, args: Any, output: Any) -> Any:
        nonlocal done
        if not isinstance(output, tuple):  # an output with names
            return type(output)(*cut(module, args, tuple(output.values())))
        step, call = divmod(done, len(calls))
        done += 1
        # Where videos go through the pipeline one by one, the steps begin anew with each.
        count = len(subject.pipeline.scheduler.timesteps)
        if step % count < count - steps:
            return tuple(one.detach() for one in output)
        if branches == "both" or set(calls[call]) == {"cond"}:
            return output
        return tuple(_cut_unconditional(one, calls[call]) for one in output)

    with ExitStack() as stack:
        for denoiser in subject.base.denoisers.values():
            stack.callback(denoiser.register_forward_hook(cut).remove)
        yield


def _cut_unconditional(prediction: torch.Tensor, branches: tuple[str, ...]) -> torch.Tensor:
    parts = prediction.chunk(len(branches))
    return torch.cat(
        [
            part if branch == "cond" else part.detach()
            for part, branch in zip(parts, branches, strict=True)
        ]
    )


def _faults(
    subject: Subject, *, image: str | None = "first.png", **changes: dict[str, Any]
) -> list[Fault]:
    """What `resolve` finds wrong with a job on this base model, the two prompts' images aside."""
    row = subject.base.row
    changed = "video" in changes or "method" in changes
    has_image = row.needs_image if changed else image is not None
    prompts = [
        Prompt(prompt=text, heldout=bool(i), image="first.png" if has_image or i else None)
        if row.needs_image
        else Prompt(
            prompt=text, heldout=bool(i), image="first.png" if has_image and not i else None
        )
        for i, text in enumerate(TEXTS)
    ]
    spec = JobSpec.model_validate(
        {
            "base_model": row.id,
            "rewards": [{"reward": "tiny-text-match"}],
            "prompts": {"inline": [prompt.model_dump() for prompt in prompts]},
            "budget": {"max_steps": 1},
            **changes,
        }
    )
    catalogue = Catalogue(base_models={row.id: row}, rewards=BUILT_IN.rewards)
    try:
        resolve(spec, catalogue, prompts)
    except InvalidSpec as error:
        return error.faults
    return []
