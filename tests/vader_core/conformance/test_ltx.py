from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from tests.vader_core.conformance import models_ltx
from tests.vader_core.conformance.suite import Conformance, Subject, make_subject
from vader_core.families.family import Request
from vader_core.families.ltx import DECODER_SEED
from vader_core.tiny.tokenizers import CONTEXT


class OfLtx(Conformance):
    # The pipeline's loop rounds latents and predictions to float32.
    tolerance = 2e-5

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        del subject
        # Noise that the pipeline draws: into the latents before decoding by its generators, one for
        # every video, and within the decoder's layers by the global one.
        torch.manual_seed(DECODER_SEED)
        generators = [torch.Generator().manual_seed(DECODER_SEED) for _ in arguments["latents"]]
        return {**arguments, "generator": generators, "max_sequence_length": CONTEXT}


class TestLtx(OfLtx):
    build = models_ltx.build


class TestLtxWithoutDecoderNoise(OfLtx):
    build = models_ltx.build_plain


class TestLtxImage(OfLtx):
    build = models_ltx.build_image

    @staticmethod
    def plain_arguments(subject: Subject, arguments: dict[str, Any]) -> dict[str, Any]:
        # This pipeline takes one generator for all videos.
        changed = OfLtx.plain_arguments(subject, arguments)
        return {**changed, "generator": changed["generator"][0]}

    def plain_frames(self, subject: Subject, *, steps: int, branches: str) -> torch.Tensor:
        single = zip(
            subject.prompts, subject.conditions.each(), subject.noise.split(1), strict=True
        )
        return torch.cat(
            [
                super(TestLtxImage, self).plain_frames(
                    dataclasses.replace(subject, prompts=[prompt], conditions=one, noise=noise),
                    steps=steps,
                    branches=branches,
                )
                for prompt, one, noise in single
            ]
        )


def test_the_images_latents_stay_as_they_are_to_the_end(tmp_path: Path) -> None:
    row = models_ltx.build_image(tmp_path)
    subject = make_subject(row, tmp_path / "images", torch.float32)
    request = Request(subject.conditions, subject.noise, subject.video, row.call)
    started = subject.base.family.call(subject.pipeline, request)["latents"]
    start = subject.base.family.to_grid(subject.pipeline, started, subject.video)
    end = subject.latents(differentiable_steps=1)
    assert torch.equal(start[:, :, 0], end[:, :, 0])
    assert not torch.allclose(start[:, :, 1:], end[:, :, 1:], atol=1e-2)


def test_decoding_twice_gives_the_same_frames_whatever_shares_the_batch(tmp_path: Path) -> None:
    subject = make_subject(models_ltx.build(tmp_path), tmp_path / "images", torch.float32)
    latents = subject.latents(differentiable_steps=1).detach()
    frames = torch.arange(3).repeat(2, 1)
    together = subject.base.decode(latents, frames)
    alone = subject.base.decode(latents[1:], frames[1:])
    assert torch.equal(together[1:], alone)
