"""The command `generate`, called in this process: videos, scores, repeatability, and errors, in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.vader_core.conformance import models_wan
from tests.vader_core.tiny_models import base_model, stir
from vader_core import adapter as adapters
from vader_core import rewards
from vader_core.__main__ import main
from vader_core.catalogue import BUILT_IN
from vader_core.devices import Compute
from vader_core.evaluation import Pair, videos_of
from vader_core.failure import Failure
from vader_core.files import sha256
from vader_core.generating import GeneratedVideo, GenerationOutput, GenerationResult
from vader_core.resolve import with_defaults
from vader_core.spec import Adapter, Prompt, RewardTerm, Video

PROMPT = "a red circle moving left"
SMALL = {"width": 16, "height": 16, "num_frames": 3, "inference_steps": 2}


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an adapter of tiny-wan that changes something."""
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    made = adapters.attach(
        base_model("tiny-wan", torch.float32), Adapter(rank=4, alpha=64.0), seed=1
    )
    stir(made)
    folder.mkdir()
    adapters.save(made, folder)
    return folder


def run(folder: Path, *options: str, **document: Any) -> tuple[int, GenerationOutput]:
    request, out = folder / "request.json", folder / "out"
    request.write_text(json.dumps({"prompt": PROMPT, "video": SMALL, **document}))
    words = ["generate", str(request), "--out", str(out), "--device", "cpu", *options]
    status = main(words)
    return status, GenerationOutput.model_validate_json((out / "result.json").read_bytes())


def result(folder: Path, **document: Any) -> GenerationResult:
    status, output = run(folder, **document)
    assert (status, output.error) == (0, None)
    assert output.result is not None
    return output.result


def failure(folder: Path, *options: str, **document: Any) -> tuple[int, Failure]:
    status, output = run(folder, *options, **document)
    assert output.result is None
    assert output.error is not None
    return status, output.error


def only(found: GenerationResult, role: str, seed: int) -> GeneratedVideo:
    [video] = [one for one in found.videos if (one.role, one.seed) == (role, seed)]
    return video


def test_base_and_adapter_are_made_scored_and_shown_side_by_side(
    tmp_path: Path, adapter: Path
) -> None:
    found = result(
        tmp_path,
        adapter=str(adapter),
        seeds=[1, 2],
        compare_with_base=True,
        score_with=["tiny-text-match", "diversity"],
    )
    made = [(video.role, video.seed) for video in found.videos]
    assert made == [("base", 1), ("base", 2), ("adapter", 1), ("adapter", 2)]
    for video in found.videos:
        path = tmp_path / "out" / video.file.path
        assert sha256(path) == video.file.sha256
        assert path.stat().st_size == video.file.size_bytes
        assert [score.reward for score in video.scores] == ["tiny-text-match@1", "diversity@1"]
        assert all(score.score is not None for score in video.scores)
    assert len({video.file.sha256 for video in found.videos}) == 4
    # Two videos of one role are as far from each other as the other way round.
    assert only(found, "base", 1).scores[1] == only(found, "base", 2).scores[1]
    assert only(found, "base", 1).scores[1] != only(found, "adapter", 1).scores[1]
    assert found.sheet is not None
    with Image.open(tmp_path / "out" / found.sheet.path) as sheet:
        assert sheet.size > (300, 300)
    assert (found.device, found.precision) == ("cpu", "float32")
    assert found.seconds > 0
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"result.json", "sheet.png", *(video.file.path for video in found.videos)}


def test_the_same_seed_gives_the_same_bytes_and_scale_0_the_base_models(
    tmp_path: Path, adapter: Path
) -> None:
    asked = {"adapter": str(adapter), "seed": 5}
    first = result(tmp_path, **asked, compare_with_base=True)
    again = result(tmp_path, **asked)
    off = result(tmp_path, **asked, adapter_scale=0)
    alone = result(tmp_path, base_model="tiny-wan", seed=5)
    half = result(tmp_path, **asked, adapter_scale=0.5)
    bytes_of = {
        "base": only(first, "base", 5).file.sha256,
        "adapter": only(first, "adapter", 5).file.sha256,
        "half": only(half, "adapter", 5).file.sha256,
    }
    assert len(set(bytes_of.values())) == 3
    assert only(again, "adapter", 5).file.sha256 == bytes_of["adapter"]
    assert only(off, "adapter", 5).file.sha256 == bytes_of["base"]
    assert only(alone, "base", 5).file.sha256 == bytes_of["base"]


def test_a_video_is_that_of_an_evaluation_with_the_same_prompt_and_seed(tmp_path: Path) -> None:
    asked = {"base_model": "tiny-unet", "target": "moving left", "score_with": ["tiny-action"]}
    found = result(tmp_path, **asked, seed=11)
    base = base_model("tiny-unet", torch.float32)
    prompt = Prompt(prompt=PROMPT, target="moving left")
    video = with_defaults(Video(**SMALL), base.row)
    frames_BFCHW = videos_of([Pair(prompt, 11)], base, video, chunk_frames=8)
    compute = Compute(torch.device("cpu"), torch.float32)
    reward = rewards.load(
        RewardTerm(reward="tiny-action"), BUILT_IN.rewards["tiny-action"], compute
    )
    with torch.no_grad():
        [wanted] = reward.score(frames_BFCHW, [prompt]).tolist()
    # The command scores the frames as bytes.
    assert only(found, "base", 11).scores[0].score == pytest.approx(wanted, rel=0.05)


def test_a_negative_prompt_changes_the_video(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"base_model": "tiny-unet"}
    plain = result(tmp_path, **asked)
    other = result(tmp_path, **asked, negative_prompt="a blue square")
    assert plain.videos[0].file.sha256 != other.videos[0].file.sha256


def test_a_first_image_is_what_the_video_starts_from(tmp_path: Path) -> None:
    row = models_wan.build_image(tmp_path / "model").model_copy(update={"id": "from-image"})
    catalogue = tmp_path / "catalogue.json"
    own = json.loads(row.model_dump_json(exclude={"folder"}))
    catalogue.write_text(json.dumps({"base_models": [own]}))
    (tmp_path / "images").mkdir()
    made = {}
    for colour in ("red", "blue"):
        Image.new("RGB", (40, 30), colour).save(tmp_path / "images" / f"{colour}.png")
        asked = {"base_model": "from-image", "image": f"{colour}.png", "video": {}}
        status, output = run(tmp_path, "--catalogue", str(catalogue), **asked)
        assert (status, output.error) == (0, None)
        assert output.result is not None
        made[colour] = output.result.videos[0].file.sha256
    assert made["red"] != made["blue"]
    asked = {"base_model": "from-image", "image": "none.png", "video": {}}
    _, error = failure(tmp_path, "--catalogue", str(catalogue), **asked)
    assert (error.code, error.fault) == ("spec_unusable", "user")


def test_a_faulty_request_is_told_with_all_pointers(tmp_path: Path) -> None:
    status, error = failure(tmp_path, base_model="tiny-nothing", num_videos=9)
    assert (status, error.code, error.retryable) == (2, "spec_unusable", False)
    assert "/base_model" in error.message
    assert "/num_videos" in error.message


def test_what_is_no_adapter_is_told(tmp_path: Path, adapter: Path) -> None:
    assert failure(tmp_path, adapter="nothing")[1].code == "spec_unusable"
    broken = tmp_path / "broken"
    broken.mkdir()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (broken / "adapter_config.json").write_text(json.dumps(config))
    status, error = failure(tmp_path, adapter="broken")
    assert (status, error.code) == (19, "adapter_unusable")
    (broken / "adapter_config.json").write_text(json.dumps({**config, "r": "many"}))
    assert failure(tmp_path, adapter="broken")[1].code == "adapter_unusable"


def test_an_adapter_of_another_rank_than_its_weights_is_told(tmp_path: Path, adapter: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps({**config, "r": 2}))
    weights = "adapter_model.safetensors"
    (other / weights).write_bytes((adapter / weights).read_bytes())
    assert failure(tmp_path, adapter="other")[1].code == "adapter_unusable"


def test_lineage_says_which_base_model_and_variant_an_adapter_is_of(
    tmp_path: Path, adapter: Path
) -> None:
    named = tmp_path / "named"
    named.mkdir()
    for file in adapter.iterdir():
        (named / file.name).write_bytes(file.read_bytes())
    base = {"id": "tiny-wan", "version": "1", "variant": {"name": "fast"}}
    (named / "lineage.json").write_text(json.dumps({"base_model": base}))
    _, error = failure(tmp_path, adapter="named")
    assert "'fast'" in error.message


def test_a_folder_that_cannot_be_written_is_told_by_the_exit_status(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "request.json").write_text(json.dumps({"base_model": "tiny-unet", "prompt": "x"}))
    words = [str(tmp_path / "request.json"), "--out", str(tmp_path / "file" / "below")]
    assert main(["generate", *words]) == 2


def test_an_unknown_device_is_the_requests_own_fault(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    status, error = failure(tmp_path, "--device", "cuda", base_model="tiny-unet")
    assert (status, error.code) == (2, "spec_unusable")
