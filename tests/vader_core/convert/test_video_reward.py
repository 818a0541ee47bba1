from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import Qwen2VLConfig

from tests.vader_core.convert import plain_layers as plain
from tests.vader_core.convert.plain_qwen2_vl import PlainModel, Sizes, base_folder, published_shapes
from tests.vader_core.rewards import checks, small_judges
from vader_core.convert import qwen2_vl, video_reward
from vader_core.convert.video_reward import TOKENS
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.qwen2_vl import Patcher
from vader_core.rewards.video_reward import DIMENSIONS, VideoReward

# config.json of Qwen/Qwen2-VL-2B-Instruct; the words are its tokenizer's 151657 and the reward tokens.
PUBLISHED = Sizes((1536, 8960, 28, 12, 2, 151660), (1280, 32, 16, 14))
RANK = 64
HEAD = "base_model.model.rm_head.weight"
WORDS = len(small_judges.tokenizer()) + 3
SMALL = Sizes((24, 32, 2, 2, 1, WORDS), (16, 2, 2, 40))
NORM = {"VQ_mean": 3.6757, "VQ_std": 2.2476, "MQ_mean": 1.1646, "MQ_std": 1.3811}
CONFIG: dict[str, Any] = {
    "data_config": {
        "prompt_template_type": "detailed_special",
        "max_frame_pixels": 110_000,
        "fps": 2.0,
        "num_frames": None,
        "sample_type": "uniform",
    },
    "model_config": {"use_special_tokens": True, "output_dim": 1},
    "peft_lora_config": {"lora_r": 4, "lora_alpha": 8},
    "inference_config": {**NORM, "TA_mean": 2.8105, "TA_std": 2.5121},
}
TEMPLATE = """
import nothing_that_exists

SIMPLE = "no"
DETAILED_PROMPT_WITH_SPECIAL_TOKEN = '''
how good <|VQ_reward|> is the clip <|MQ_reward|> of {text_prompt} <|TA_reward|> user
'''
raise SystemExit("a converter runs no code")
"""


class Base(NamedTuple):
    """As `read_base` gives it, with a tokenizer that has so many words."""

    config: Qwen2VLConfig
    tokenizer: range
    preprocessor: Path


def published() -> dict[str, torch.Tensor]:
    shapes = published_shapes(PUBLISHED, RANK) | {HEAD: (1, PUBLISHED.text[0])}
    return {
        name: torch.empty(shape, dtype=torch.bfloat16, device="meta")
        for name, shape in shapes.items()
    }


def published_base() -> Any:
    words = {"<|image_pad|>": 151655, "<|video_pad|>": 151656}
    fields = PUBLISHED.config(words, [16, 24, 24])
    return Base(Qwen2VLConfig(**fields), range(PUBLISHED.text[-1]), Path())


def test_published_names_and_shapes_fill_the_whole_model() -> None:
    """The file is 5 031 072 529 bytes: its tensors in bf16, and pickle's names and padding."""
    tensors = published()
    size = sum(2 * tensor.numel() for tensor in tensors.values())
    assert 0 < 5_031_072_529 - size < 5_031_072_529 * 1e-4
    own = qwen2_vl.merged(qwen2_vl.own_names(tensors), scale=2.0)
    model = qwen2_vl.fill(published_base(), own, ["rm_head.weight"], path=Path("model.pth"))
    left = ("lora_", "lm_head", "rm_head")
    kept = [one.numel() for name, one in tensors.items() if not any(part in name for part in left)]
    assert sum(one.numel() for one in model.parameters()) == sum(kept) == 2_208_561_664
    assert all(one.is_meta for one in model.parameters())


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    tensors = published()
    root = "base_model.model."
    del tensors[f"{root}visual.merger.ln_q.bias"], tensors[HEAD]
    del tensors[f"{root}model.layers.3.mlp.up_proj.lora_A.default.weight"]
    tensors[f"{root}model.norm.weight"] = torch.empty(7, device="meta")
    tensors["v_head.weight"] = torch.empty(1, device="meta")
    own = qwen2_vl.merged(qwen2_vl.own_names(tensors), scale=2.0)
    with pytest.raises(WeightsUnreadable) as caught:
        qwen2_vl.fill(published_base(), own, ["rm_head.weight"], path=Path("model.pth"))
    for fault in (
        "visual.merger.ln_q.bias is missing",
        "rm_head.weight is missing",
        "language_model.layers.3.mlp.up_proj.lora_B is not known",
        "language_model.norm.weight is (7,), not (1536,)",
        "v_head.weight is not known",
    ):
        assert fault in caught.value.message


def small_tensors(outputs: int) -> dict[str, torch.Tensor]:
    tensors = plain.drawn(published_shapes(SMALL, 4) | {HEAD: (outputs, 24)})
    # Large patches have many pixels.
    tensors["base_model.model.visual.patch_embed.proj.weight"] *= 0.1
    return tensors


def sources(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> dict[str, Path]:
    torch.save(tensors, folder / "model.pth")
    (folder / "model_config.json").write_text(json.dumps({**CONFIG, **config}))
    (folder / "prompt_template.py").write_text(TEMPLATE)
    return {
        "checkpoint": folder / "model.pth",
        "config": folder / "model_config.json",
        "base": base_folder(folder / "base", SMALL),
        "template": folder / "prompt_template.py",
    }


@pytest.mark.parametrize("outputs", [1, 3])
def test_converted_judge_gives_the_scores_of_the_published_tensors(
    tmp_path: Path, outputs: int
) -> None:
    tensors = small_tensors(outputs)
    video_reward.convert(sources(tmp_path, tensors), tmp_path / "out")
    own = small_judges.processor()
    frames = checks.videos(320, 320)[:1, :2]
    patcher = Patcher(
        *(40, 2, 2, tuple(own.image_mean), tuple(own.image_std)),
        min_pixels=100_352,
        max_pixels=110_000,
    )
    patches, grid = patcher(frames)
    words = small_judges.tokenizer()
    words.add_tokens(list(TOKENS.values()), special_tokens=True)
    chat = (
        "<|im_start|> user <|vision_start|><|video_pad|><|vision_end|>\n"
        f"how good <|VQ_reward|> is the clip <|MQ_reward|> of {checks.PROMPTS[0].prompt} "
        "<|TA_reward|> user\n<|im_end|><|im_start|> assistant"
    )
    ids: list[int] = words(chat)["input_ids"]
    model = PlainModel(tensors, SMALL, root="base_model.model.", scale=2.0)
    states = model.states(patches, grid, ids, words.convert_tokens_to_ids("<|video_pad|>"))
    head, norm = tensors[HEAD], CONFIG["inference_config"]
    for index, (name, axis) in enumerate(zip(DIMENSIONS, ("VQ", "MQ", "TA"), strict=True)):
        place = ids.index(words.convert_tokens_to_ids(TOKENS[name])) - len(ids)
        number = float(states[place] @ head[index % outputs])
        expected = (number - norm[f"{axis}_mean"]) / norm[f"{axis}_std"]
        reward = VideoReward(checks.row(tmp_path / "out"), {"dimension": name}, checks.compute())
        found = reward.score(frames, checks.PROMPTS[:1])
        assert float(found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_config": {**CONFIG["data_config"], "sample_type": "multi_pts"}}, "multi_pts"),
        ({"peft_lora_config": {"lora_alpha": 8}}, "lora_r"),
    ],
)
def test_another_training_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    given = sources(tmp_path, small_tensors(1), **changes)
    with pytest.raises(WeightsUnreadable, match=message):
        video_reward.convert(given, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_without_the_question_is_refused(tmp_path: Path) -> None:
    given = sources(tmp_path, small_tensors(1))
    given["template"].write_text("SIMPLE = 'no'")
    with pytest.raises(WeightsUnreadable, match="DETAILED_PROMPT_WITH_SPECIAL_TOKEN is missing"):
        video_reward.convert(given, tmp_path / "out")
