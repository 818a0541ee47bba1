from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.vader_core.convert import plain_layers as plain
from tests.vader_core.rewards import checks
from vader_core.convert import clip_head, weather_head
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.clip_head import ClipHead
from vader_core.rewards.head import Head

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "reward_heads"
LINEAR, RELU = (0, 2, 4, 6, 7), (0, 3, 6, 9)
FILES = {
    "sac+logos+ava1-l14-linearMSE.pth": (clip_head, LINEAR, [768, 1024, 128, 64, 16, 1]),
    "compression_reward.pt": (clip_head, RELU, [768, 512, 128, 32, 1]),
    "rainy_reward.pt": (weather_head, LINEAR, [768, 1024, 128, 64, 16, 1]),
    "snowy_reward.pt": (weather_head, LINEAR, [768, 1024, 128, 64, 16, 1]),
}


def small_file(path: Path, places: tuple[int, ...], widths: list[int]) -> Path:
    """Random tensors named as the published ones."""
    shapes: plain.Shapes = {}
    for place, old, new in zip(places, widths[:-1], widths[1:], strict=True):
        shapes |= plain.linear_shapes(f"layers.{place}", old, new)
    torch.save({name: one.float() for name, one in plain.drawn(shapes).items()}, path)
    return path


def plain_scores(
    path: Path, embeddings: np.ndarray[Any, Any], *, relu: bool, sigmoid: bool
) -> np.ndarray[Any, Any]:
    state = torch.load(path, weights_only=True, map_location="cpu")
    places = sorted({int(name.split(".")[1]) for name in state})
    x = embeddings
    for place in places:
        weight, bias = (
            state[f"layers.{place}.{kind}"].double().numpy() for kind in ("weight", "bias")
        )
        x = x @ weight.T + bias
        x = np.maximum(x, 0) if relu and place != places[-1] else x
    return (1 / (1 + np.exp(-x)) if sigmoid else x)[:, 0]


@pytest.mark.parametrize("name", FILES)
def test_published_heads_give_the_scores_of_a_plain_evaluation(name: str, tmp_path: Path) -> None:
    if not PUBLISHED.is_dir():
        pytest.skip("the published heads are not here")
    converter, places, widths = FILES[name]
    sources = {"head": PUBLISHED / name, "clip": checks.TINY_CLIP}
    converter.convert(sources, tmp_path / "out")
    head = Head.from_pretrained(tmp_path / "out").double()
    assert list(head.config.widths) == widths
    embeddings = np.random.default_rng(0).standard_normal((64, 768))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = plain_scores(
        PUBLISHED / name, embeddings, relu=places == RELU, sigmoid=converter is weather_head
    )
    with torch.no_grad():
        found = head(torch.from_numpy(embeddings)).numpy()
    assert np.abs(found - expected).max() < 1e-9
    assert expected.std() > 1e-4


@pytest.mark.parametrize(("converter", "output"), [(clip_head, "none"), (weather_head, "sigmoid")])
def test_converted_folder_is_a_reward(converter: Any, output: str, tmp_path: Path) -> None:
    source = small_file(tmp_path / "head.pt", LINEAR, [64, 32, 16, 8, 4, 1])
    converter.convert({"head": source, "clip": checks.TINY_CLIP}, tmp_path / "out")
    fields = json.loads((tmp_path / "out" / "head.json").read_text())
    assert fields == {"widths": [64, 32, 16, 8, 4, 1], "between": "none", "output": output}
    reward = ClipHead(checks.row(tmp_path / "out"), {}, checks.compute())
    score = reward.score(checks.videos(), checks.PROMPTS)
    assert score.isfinite().all()
    assert (output == "none") or ((score > 0) & (score < 1)).all()


def test_clip_model_is_linked_not_copied(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    shutil.copytree(checks.TINY_CLIP, clip)
    source = small_file(tmp_path / "head.pt", RELU, [64, 16, 8, 4, 1])
    clip_head.convert({"head": source, "clip": clip}, tmp_path / "out")
    name = "model.safetensors"
    assert os.path.samefile(clip / name, tmp_path / "out" / name)


def test_file_of_other_layers_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    source = small_file(tmp_path / "head.pt", (0, 3, 6, 9, 12), [64, 32, 16, 8, 4, 1])
    with pytest.raises(WeightsUnreadable, match=r"stand at \(0, 3, 6, 9, 12\)"):
        clip_head.convert({"head": source, "clip": checks.TINY_CLIP}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_everything_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    source = small_file(tmp_path / "head.pt", LINEAR, [64, 32, 16, 8, 4, 1])
    state = torch.load(source)
    del state["layers.4.bias"]
    state["layers.7.weight"] = torch.zeros(1, 5)
    torch.save(state, source)
    with pytest.raises(WeightsUnreadable) as caught:
        clip_head.convert({"head": source, "clip": checks.TINY_CLIP}, tmp_path / "out")
    assert "layers.4.bias is missing" in caught.value.message
    assert "layers.7.weight is (1, 5), not (1, 4)" in caught.value.message


def test_missing_clip_folder_is_named(tmp_path: Path) -> None:
    source = small_file(tmp_path / "head.pt", RELU, [64, 16, 8, 4, 1])
    with pytest.raises(WeightsUnreadable, match=r"nowhere does not exist"):
        clip_head.convert({"head": source, "clip": tmp_path / "nowhere"}, tmp_path / "out")
