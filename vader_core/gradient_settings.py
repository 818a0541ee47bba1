"""The settings that all methods have, and those of `reward_gradient`. Free of torch.

`vader_core.method_spec` has the other methods' and the union of all.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vader_core.strict import Strict


class Frames(Strict):
    """Which frames of a video are decoded and scored in training.

    `every_nth` scores frames 0, n, 2n, ...; `random` draws n frames anew for every video and step;
    `index` scores the one frame with that number, counted from 0.
    `centre_decay` is InstructVideo's temporally attenuated reward (arXiv 2312.12490): a frame's weight
    falls with its distance from the middle of the video as exp(-centre_decay * distance), distance 1
    being half the video; 0 weighs all alike. It holds for rewards that score frame by frame. The weights
    of the chosen frames sum to 1. (InstructVideo's lambda 1 a frame is 8 for videos of 16 frames.)
    """

    mode: Literal["all", "every_nth", "first_middle_last", "random", "index"] = Field(
        default="all",
        description="Which frames are decoded and scored: all; 0, n, 2n, ...; the first, middle and last; n drawn anew for every video; or the one with number `index`.",
    )
    n: int | None = Field(
        default=None,
        ge=1,
        description="With every_nth: the distance between frames. With random: how many.",
    )
    index: int | None = Field(
        default=None, ge=0, description="With mode index: the frame's number, counted from 0."
    )
    centre_decay: float = Field(
        default=0.0,
        ge=0,
        description="Weighs frames by exp(-centre_decay * distance from the middle), half the video being 1; 0 weighs all alike.",
    )

    @model_validator(mode="after")
    def _needs_its_number(self) -> Frames:
        needs_n = self.mode in {"every_nth", "random"}
        if needs_n != (self.n is not None):
            raise ValueError("`n` goes with mode every_nth or random, and only with them")
        if (self.mode == "index") != (self.index is not None):
            raise ValueError("`index` goes with mode index, and only with it")
        if self.centre_decay and (self.mode == "index" or (self.mode == "random" and self.n == 1)):
            raise ValueError(
                "`centre_decay` weighs frames against each other: choose more than one"
            )
        return self


class MethodSettings(Strict):
    """What all methods have in common.

    `batch_size` is the number of videos of one micro-batch; a training step samples
    `batch_size * gradient_accumulation` videos.
    `prediction_penalty` weighs the mean squared distance between the prediction with and without the
    adapter at the denoising steps that carry gradient; 0 switches it off.
    `guidance_gradient` says whether the unconditional branch of guidance carries gradient too.
    """

    guidance_gradient: Literal["conditional", "both"] = Field(
        default="conditional",
        description="Whether the unconditional branch of guidance carries gradient too.",
    )
    decode_chunk_frames: int = Field(
        default=4, ge=1, description="Frames that are decoded at a time; fewer take less memory."
    )
    gradient_checkpointing: bool = Field(
        default=True,
        description="Computes activations again in the backward pass instead of keeping them: less memory, more time.",
    )
    learning_rate: float = Field(
        default=2e-4, ge=0, description="The optimiser's largest learning rate."
    )
    lr_schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="How the learning rate falls after the warm-up."
    )
    warmup_steps: int = Field(
        default=0, ge=0, description="Steps over which the learning rate rises from 0."
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's decoupled weight decay.")
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Gradients with a larger norm are scaled down to it."
    )
    batch_size: int = Field(default=1, ge=1, description="Videos of one micro-batch.")
    gradient_accumulation: int = Field(
        default=8,
        ge=1,
        description="Micro-batches of a training step, which samples batch_size times as many videos.",
    )
    prediction_penalty: float = Field(
        default=0.0,
        ge=0,
        description="Weighs the mean squared distance between the predictions with and without the adapter; 0 switches it off.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="The numbers' format of the frozen parts; auto takes what the device is good at.",
    )

    @property
    def videos_per_step(self) -> int:
        """Videos that one training step samples."""
        return self.batch_size * self.gradient_accumulation

    @property
    def scores_per_video(self) -> int:
        """How often every reward is asked about one of them."""
        return 1

    def reach(self, inference_steps: int) -> int:
        """How many of the last denoising steps may carry gradient, out of `inference_steps`."""
        return inference_steps


class RelativePrompt(Strict):
    """SRPO's relative reward (arXiv 2509.06942): the score for the prompt with the wanted words added,
    minus the score with the unwanted ones, so that what the reward likes regardless of words cancels.

    The words stand before the prompt: "words. prompt". What training reports is the mean of the two scores.
    """

    wanted: str = Field(
        min_length=1, max_length=500, description="Words before the prompt whose score is added."
    )
    unwanted: str = Field(
        min_length=1,
        max_length=500,
        description="Words before the prompt whose score is taken off.",
    )


class RewardGradient(MethodSettings):
    """VADER's method: the reward's gradient through decoder and denoising steps (arXiv 2407.08737).

    `differentiable_steps` is K, the number of denoising steps that keep a graph. `step_choice` says
    which: the `last` K (the paper's choice, DRaFT-K); the last k with k drawn from 1 to K at every step
    (`random_last`, AlignProp's random truncation); K `random` or K `even`ly spread steps of `step_range`,
    drawn anew at every step, the rest cut off; or those `given`, counted from 0.

    `path` says what the gradient runs through:
    - `sampler`: the sampler's own chain through the chosen steps;
    - `clean_prediction`: the rollout ends at the one chosen step, and its prediction of the clean video
      is scored (ReFL, arXiv 2304.05977);
    - `leap`: the rollout is finished without a graph and scored as it is; its gradient goes to the one
      chosen step's prediction of the clean video (after LeapAlign, arXiv 2604.15311);
    - `last_step_redraws`: the finished video is noised back to the last step `noise_draws` times, and
      each draw is denoised and scored (DRaFT-LV, arXiv 2309.17400);
    - `direct_align`: the finished video is noised with known noise to the one chosen step, one step is
      taken, and the clean video is recovered with that noise (SRPO, arXiv 2509.06942).

    `detach_input` stops the gradient at the denoiser's input (DRTune, arXiv 2405.00760).
    `worst_case_radius` takes the gradient at the worst video in a ball of that root mean square per pixel
    value, the values being in 0 to 1 (RSA-FT, arXiv 2603.21175); the true video's scores are reported.
    `base_sample_weight` weighs a denoising loss on the base model's own samples, an anchor.
    """

    type: Literal["reward_gradient"] = "reward_gradient"
    differentiable_steps: int = Field(
        default=1, ge=1, description="K, the number of denoising steps that keep a graph."
    )
    step_choice: Literal["last", "random_last", "random", "even", "given"] = Field(
        default="last",
        description="Which steps those are: the last K, the last 1 to K, K random or evenly spread ones of step_range, or those given.",
    )
    given_steps: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, min_length=1, description="With step_choice given: the steps, counted from 0."
    )
    step_range: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (
        Field(
            default=(
                0.0,
                1.0,
            ),
            description="With step_choice random or even: the part of the denoising to choose from, 0 being its start and 1 its end.",
        )
    )
    path: Literal["sampler", "clean_prediction", "leap", "last_step_redraws", "direct_align"] = (
        Field(
            default="sampler",
            description="What the gradient runs through: the sampler's own chain, or a shortcut from one step.",
        )
    )
    detach_input: bool = Field(
        default=False, description="Stops the gradient at the denoiser's input."
    )
    noise_draws: int = Field(
        default=2,
        ge=1,
        description="With path last_step_redraws: how often the finished video is noised again.",
    )
    relative_prompt: RelativePrompt | None = Field(
        default=None,
        description="Scores relative to words: the score with the wanted words minus the one with the unwanted.",
    )
    worst_case_radius: float = Field(
        default=0.0,
        ge=0,
        description="Takes the gradient at the worst video within this root mean square per pixel value (0 to 1); 0 switches it off.",
    )
    base_sample_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weighs a denoising loss on the base model's own videos; 0 switches it off.",
    )
    frames: Frames = Field(
        default=Frames(), description="Which frames are decoded and scored in training."
    )

    @property
    def scores_per_video(self) -> int:
        draws = self.noise_draws if self.path == "last_step_redraws" else 1
        both_prompts = 2 if self.relative_prompt else 1
        both_videos = 2 if self.worst_case_radius else 1
        return draws * both_prompts * both_videos

    def reach(self, inference_steps: int) -> int:
        if self.given_steps is not None:
            return inference_steps - min(self.given_steps)
        if self.step_choice in {"random", "even"}:
            return inference_steps - self.steps_in_range(inference_steps).start
        return min(self.differentiable_steps, inference_steps)

    @property
    def steps_chosen(self) -> int:
        """The most steps that carry gradient in one rollout."""
        return self.differentiable_steps if self.given_steps is None else len(self.given_steps)

    def steps_in_range(self, inference_steps: int) -> range:
        """The steps of `step_range`, counted from 0: the first after its lower end, none after its upper."""
        low, high = self.step_range
        return range(round(low * inference_steps), round(high * inference_steps))
