from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.yolos.image_processing_pil_yolos import (
    YolosImageProcessorPil,
    get_size_with_aspect_ratio_yolos,
)

from tests.vader_core.rewards import checks, small_detectors
from vader_core.catalogue import TINY_WEIGHTS
from vader_core.errors import SpecUnusable, WeightsUnreadable
from vader_core.rewards.detection import ObjectPresence, ObjectRemoval, detector_size
from vader_core.tiny import world

PROCESSORS = {"yolos": YolosImageProcessorPil, "grounding_dino": GroundingDinoImageProcessorPil}
SIZES = [(480, 832), (320, 512), (512, 512), (512, 320), (33, 70), (720, 400), (31, 97), (40, 40)]


@pytest.fixture(scope="module", params=["yolos", "grounding_dino"])
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(kind, model, folder)."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, getattr(small_detectors, request.param)(folder), folder


def presence(folder: Path, name: str = "circle", dtype: torch.dtype = torch.float64) -> Any:
    return ObjectPresence(checks.row(folder), {"object": name}, checks.compute(dtype))


def removal(folder: Path, name: str = "circle", dtype: torch.dtype = torch.float64) -> Any:
    return ObjectRemoval(checks.row(folder), {"object": name}, checks.compute(dtype))


def probabilities(kind: str, model: Any, folder: Path, images: list[Any]) -> Any:
    """(N, Q): the probability of the first object by the model's own processor and text."""
    inputs = PROCESSORS[kind].from_pretrained(folder)(images, return_tensors="pt")
    with torch.no_grad():
        if kind == "yolos":
            return model(pixel_values=inputs["pixel_values"]).logits.softmax(-1)[..., 1]
        tokens = torch.tensor([[101, 201, 1012, 102]]).expand(len(images), -1)
        return model(**inputs, input_ids=tokens).logits.sigmoid()[..., 1]


@pytest.mark.parametrize(("height", "width"), [(40, 64), (64, 40), (96, 128)])
def test_score_is_that_of_the_models_own_processor(detector: Any, height: int, width: int) -> None:
    kind, model, folder = detector
    frames = checks.videos(height, width)
    chances = probabilities(kind, model, folder, checks.images(frames)).double().numpy()
    odds = chances / (1 - chances)
    best = (odds**4).sum(-1) ** 0.25
    expected = (best / (1 + best)).reshape(2, 3).mean(1)
    found = presence(folder, dtype=torch.float32).score(frames.float(), checks.PROMPTS)
    assert np.abs(found.numpy() - expected).max() < 1e-3
    absent = removal(folder, dtype=torch.float32).score(frames.float(), checks.PROMPTS)
    assert torch.allclose(found + absent, torch.ones(2))


@pytest.fixture
def doubles() -> Iterator[None]:
    """Grounding DINO makes its logits in torch's default precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("doubles")
def test_gradient_at_pixels_is_right(detector: Any) -> None:
    kind, _, folder = detector
    scorer = removal(folder)
    if kind == "grounding_dino":
        # The model cuts the gradient at its boxes; without box heads they do not depend on the pixels.
        model = scorer._detector._model
        for head in (*model.bbox_embed, *model.model.decoder.bbox_embed):
            for parameter in head.parameters():
                parameter.zero_()
        for parameter in model.model.encoder_output_bbox_embed.parameters():
            parameter.zero_()
    checks.assert_gradient_is_right(scorer, checks.videos(48, 64))


def test_score_is_of_the_video_alone(detector: Any) -> None:
    checks.assert_score_is_of_the_video_alone(presence(detector[2]), checks.videos())


def test_frame_without_a_detection_keeps_gradient_and_the_other_frames_scores(
    detector: Any,
) -> None:
    frames = checks.videos()
    flat = frames.clone()
    flat[:, 1] = 0.5
    for make in (presence, removal):
        scorer, leaf = make(detector[2]), flat.clone().requires_grad_()
        mixed = scorer.score(leaf, checks.PROMPTS)
        (gradient,) = torch.autograd.grad(mixed.log().sum(), leaf)
        assert gradient.flatten(2).abs().amax(2).min() > 0
        others = scorer.score(frames[:, [0, 2]], checks.PROMPTS)
        alone = scorer.score(flat[:, 1:2], checks.PROMPTS)
        assert torch.allclose(mixed, (2 * others + alone) / 3)


def test_score_follows_the_best_query_however_many_there_are() -> None:
    log_odds = torch.tensor([[-6.0] * 100, [-6.0] * 99 + [2.0], [-6.0] * 98 + [2.0, 2.0]])
    scorer = _fixed(log_odds)
    none, one, two = scorer.score(torch.zeros(3, 1, 3, 4, 4), [])
    assert none < 0.01
    assert float(one) == pytest.approx(float(torch.tensor(2.0).sigmoid()), abs=1e-4)
    assert one < two < 1


def test_sure_detection_still_has_a_gradient_of_its_absence() -> None:
    log_odds = torch.full((1, 5), 40.0, requires_grad=True)
    absent = _fixed(log_odds, ObjectRemoval).score(torch.zeros(1, 1, 3, 4, 4), [])
    (gradient,) = torch.autograd.grad(absent.log().sum(), log_odds)
    assert float(absent.detach()) > 0
    assert torch.allclose(gradient, torch.full((1, 5), -0.2))


class _Answer:
    """A detector that says the same whatever it sees."""

    def __init__(self, log_odds_NQ: torch.Tensor) -> None:
        self._log_odds_NQ = log_odds_NQ

    def log_odds(self, frames_NCHW: torch.Tensor) -> torch.Tensor:
        return self._log_odds_NQ


def _fixed(log_odds_NQ: torch.Tensor, kind: Any = ObjectPresence) -> Any:
    scorer = kind.__new__(kind)
    scorer._detector, scorer._dtype = _Answer(log_odds_NQ), torch.float32
    return scorer


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bounds", [(512, 1333), (800, 1333), (40, 70)])
def test_sizes_are_those_of_the_published_processors(
    size: tuple[int, int], bounds: tuple[int, int]
) -> None:
    assert detector_size(size, bounds, 16) == get_size_with_aspect_ratio_yolos(size, *bounds)
    assert detector_size(size, bounds, 1) == get_size_with_aspect_ratio(size, *bounds)


def test_object_that_yolos_does_not_know_is_refused_with_those_it_knows(tmp_path: Path) -> None:
    small_detectors.yolos(tmp_path)
    with pytest.raises(SpecUnusable, match="'dragon'") as caught:
        presence(tmp_path, "dragon")
    assert "book, circle, square" in caught.value.hint
    assert "N/A" not in caught.value.hint


def test_grounding_dino_reads_every_word_of_the_name(tmp_path: Path) -> None:
    small_detectors.grounding_dino(tmp_path)
    scorer = presence(tmp_path, "Red circle")
    assert scorer._detector._places.tolist() == [1, 2]
    assert presence(tmp_path, "red circle.")._detector._places.tolist() == [1, 2]


def test_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "detr"}))
    with pytest.raises(WeightsUnreadable, match="'detr'"):
        presence(tmp_path)


def test_videos_of_the_object_score_above_others_and_empty_ones() -> None:
    """The tiny world's trained detector."""
    generator = torch.Generator().manual_seed(0)
    batch = world.draw_batch(24, generator=generator, num_frames=2)
    has_circle = torch.tensor([scene.shape == "circle" for scene in batch.scenes])
    seen = presence(TINY_WEIGHTS / "tiny-yolos", dtype=torch.float32)
    gone = removal(TINY_WEIGHTS / "tiny-yolos", dtype=torch.float32)
    with torch.no_grad():
        score = seen.score(batch.frames_BFCHW, [])
        absence = gone.score(batch.frames_BFCHW, [])
        empty = gone.score(torch.full((1, 2, 3, 32, 32), 0.08), [])  # the world's dark ground
    pairs = score[has_circle][:, None] > score[~has_circle]
    assert float(pairs.float().mean()) > 0.9
    assert absence[has_circle].mean() < 0.5
    assert min(absence[~has_circle].mean(), float(empty)) > 0.9
