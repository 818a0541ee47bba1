from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import relu
from transformers import Qwen2VLConfig

from tests.vader_core.convert import plain_layers as plain
from tests.vader_core.convert.plain_qwen2_vl import PlainModel, Sizes, base_folder, published_shapes
from tests.vader_core.convert.test_video_reward import Base
from tests.vader_core.rewards import checks, small_judges
from vader_core.convert import hpsv3, qwen2_vl
from vader_core.convert.hpsv3 import HEAD, TOKEN
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.hpsv3 import Hpsv3
from vader_core.rewards.qwen2_vl import Patcher

# config.json of Qwen/Qwen2-VL-7B-Instruct; the words are its tokenizer's 151657 and the reward token.
PUBLISHED = Sizes((3584, 18944, 28, 28, 4, 151658), (1280, 32, 16, 14))
SMALL = Sizes((24, 32, 2, 2, 1, len(small_judges.tokenizer()) + 1), (16, 2, 2, 56))
TEMPLATE = """
import nothing_that_exists
INSTRUCTION = "how good is the clip of {text_prompt} "
INSTRUCTION_debug = "{text_prompt}"
prompt_with_special_token = "is the clip <|Reward|> good"
"""


def head_shapes(width: int) -> plain.Shapes:
    return {
        **plain.linear_shapes("rm_head.0", width, 1024),
        **plain.linear_shapes("rm_head.3", 1024, 16),
        **plain.linear_shapes("rm_head.5", 16, 2),
    }


@pytest.mark.parametrize("layout", ["4.45", "5"])
def test_published_names_and_shapes_fill_the_whole_model(layout: str) -> None:
    shapes = published_shapes(PUBLISHED) | head_shapes(3584)
    if layout == "5":
        shapes = {
            name.replace("model.", "model.language_model.", 1).replace(
                "visual.", "model.visual.", 1
            ): shape
            for name, shape in shapes.items()
        }
    tensors = {
        name: torch.empty(shape, device="cpu" if name in HEAD else "meta")
        for name, shape in shapes.items()
    }
    fields = PUBLISHED.config({"<|image_pad|>": 151655, "<|video_pad|>": 151656}, [16, 24, 24])
    base = Base(Qwen2VLConfig(**fields), range(PUBLISHED.text[-1]), Path())
    own = qwen2_vl.own_names(tensors)
    model = qwen2_vl.fill(base, own, HEAD, path=Path("HPSv3.safetensors"))  # type: ignore[arg-type]
    kept = [
        one.numel() for name, one in tensors.items() if "lm_head" not in name and name not in HEAD
    ]
    assert sum(one.numel() for one in model.parameters()) == sum(kept) == 7_744_923_136
    assert hpsv3.head(own).config.widths == [3584, 1024, 16, 1]


def sources(folder: Path, tensors: dict[str, torch.Tensor]) -> dict[str, Path]:
    save_file(tensors, folder / "HPSv3.safetensors")
    (folder / "data_collator_qwen.py").write_text(TEMPLATE)
    return {
        "checkpoint": folder / "HPSv3.safetensors",
        "base": base_folder(folder / "base", SMALL),
        "template": folder / "data_collator_qwen.py",
    }


def small_tensors() -> dict[str, torch.Tensor]:
    tensors = plain.drawn(published_shapes(SMALL) | head_shapes(24))
    # Large patches have many pixels.
    tensors["visual.patch_embed.proj.weight"] *= 0.1
    return tensors


def test_converted_judge_gives_the_mean_of_the_published_tensors(tmp_path: Path) -> None:
    tensors = small_tensors()
    hpsv3.convert(sources(tmp_path, tensors), tmp_path / "out")
    own = small_judges.processor()
    means = (tuple(own.image_mean), tuple(own.image_std))
    patcher = Patcher(56, 2, 2, *means, min_pixels=200_704, max_pixels=200_704)
    frames = checks.videos(224, 224)[:1, :1]
    patches, grid = patcher(frames)
    words = small_judges.tokenizer()
    words.add_tokens([TOKEN], special_tokens=True)
    chat = (
        "<|im_start|> user <|vision_start|><|image_pad|><|vision_end|>how good is the clip of "
        f"{checks.PROMPTS[0].prompt} is the clip {TOKEN} good<|im_end|><|im_start|> assistant"
    )
    ids: list[int] = words(chat)["input_ids"]
    model = PlainModel(tensors, SMALL)
    states = model.states(patches, grid, ids, words.convert_tokens_to_ids("<|image_pad|>"))
    x = states[ids.index(words.convert_tokens_to_ids(TOKEN)) - len(ids)]
    x = relu(plain.linear(x, tensors, "rm_head.0"))
    x = plain.linear(relu(plain.linear(x, tensors, "rm_head.3")), tensors, "rm_head.5")
    found = Hpsv3(checks.row(tmp_path / "out"), {}, checks.compute()).score(
        frames, checks.PROMPTS[:1]
    )
    assert float(found) == pytest.approx(float(x[0]), abs=1e-4)


def test_a_lora_without_a_scale_is_refused(tmp_path: Path) -> None:
    tensors = small_tensors()
    tensors["model.layers.0.self_attn.q_proj.lora_A.default.weight"] = torch.zeros(4, 24)
    with pytest.raises(WeightsUnreadable, match=r"q_proj\.lora_A\.default\.weight is not known"):
        hpsv3.convert(sources(tmp_path, tensors), tmp_path / "out")
