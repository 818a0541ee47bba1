from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file

from tests.vader_core.tiny_models import NAMES, Scene, base_model, generators, scene, stir
from vader_core import adapter as adapters
from vader_core import rollout
from vader_core.errors import CheckpointUnusable, SpecUnusable
from vader_core.spec import Adapter

CARD = "# A card\n"

# Runs with diffusers and peft alone: nothing of this project is imported.
SCRIPT = """
import sys
import torch
from diffusers import DiffusionPipeline
from peft import PeftModel
from safetensors.torch import load_file, save_file

base, inputs, result, guidance, *sources = sys.argv[1:]
given = load_file(inputs)
found = {}
for number, source in enumerate(sources):
    pipeline = DiffusionPipeline.from_pretrained(base, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    if source.endswith(".safetensors"):
        pipeline.load_lora_weights(source)
    else:
        denoiser = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
        PeftModel.from_pretrained(denoiser, source)
    found[str(number)] = pipeline(
        prompt_embeds=given["cond"], negative_prompt_embeds=given["uncond"],
        latents=given["noise"], width=16, height=16, num_frames=3, num_inference_steps=3,
        guidance_scale=float(guidance), output_type="latent",
    ).frames.contiguous()
assert not any(name.startswith("vader_core") for name in sys.modules)
save_file(found, result)
"""


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param, torch.float32)


@pytest.fixture(scope="module")
def exported(trained: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    files = adapters.export(
        trained.adapter, trained.base, folder, card=CARD, lineage={"job": "job_1"}
    )
    assert sorted(files) == sorted(folder.iterdir())
    return folder


def latents_of(scene: Scene) -> torch.Tensor:
    return rollout.generate(
        rollout.Batch(scene.base, scene.conditions, scene.noise, scene.video, generators(2))
    )


def latents_elsewhere(scene: Scene, sources: list[Path], scratch: Path) -> list[torch.Tensor]:
    inputs, result = scratch / "inputs.safetensors", scratch / "result.safetensors"
    tensors = {
        "cond": scene.conditions.cond["prompt_embeds"],
        "uncond": scene.conditions.uncond["prompt_embeds"],
        "noise": scene.noise,
    }
    save_file(tensors, inputs)
    guidance = scene.video.guidance_scale
    arguments = [str(a) for a in (scene.base.row.folder, inputs, result, guidance, *sources)]
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=True, cwd=scratch)
    found = load_file(result)
    return [found[str(number)] for number in range(len(sources))]


def test_every_layout_gives_the_same_video_without_this_project(
    trained: Scene, exported: Path, tmp_path: Path
) -> None:
    with trained.adapter.disabled():
        unadapted = latents_of(trained)
    expected = latents_of(trained)
    assert (expected - unadapted).abs().max() > 1e-2
    others = [exported / name for name in adapters.layouts(trained.adapter, trained.base)]
    assert len(others) == (2 if trained.base.row.family == "wan" else 0)
    for found in latents_elsewhere(trained, [exported, *others], tmp_path):
        assert torch.allclose(found, expected, atol=1e-5)


def test_peft_config_names_the_base_model(trained: Scene, exported: Path) -> None:
    config = json.loads((exported / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"{trained.base.row.id}@1"
    assert config["inference_mode"] is True
    assert (config["r"], config["lora_alpha"]) == (4, 6.0)


def test_card_and_lineage_are_beside_the_weights(exported: Path) -> None:
    assert (exported / "README.md").read_text() == CARD
    assert json.loads((exported / "lineage.json").read_text()) == {"job": "job_1"}


def test_comfyui_keys_are_those_of_the_original_wan_code() -> None:
    case = scene("tiny-wan", torch.float32)
    layouts = adapters.layouts(case.adapter, case.base)
    keys = layouts["comfyui_lora.safetensors"]
    assert "diffusion_model.blocks.0.self_attn.q.lora_A.weight" in keys
    assert "diffusion_model.blocks.4.cross_attn.o.lora_B.weight" in keys
    converted = WanPipeline.lora_state_dict(dict(keys))
    own = layouts["pytorch_lora_weights.safetensors"]
    assert converted.keys() == own.keys()
    assert all(torch.equal(converted[key], own[key]) for key in own)
    assert len(own) == len(case.adapter.parameters())


def test_layouts_that_do_not_exist_are_left_out() -> None:
    unet = base_model("tiny-unet", torch.float32)
    assert adapters.layouts(adapters.attach(unet, Adapter(rank=2), seed=0), unet) == {}


def test_comfyui_layout_covers_feed_forward_and_embedders() -> None:
    wan = base_model("tiny-wan", torch.float32)
    targets = [
        "to_q",
        "ffn.net.0.proj",
        "ffn.net.2",
        "time_proj",
        "linear_1",
        "linear_2",
        "proj_out",
    ]
    adapter = adapters.attach(wan, Adapter(rank=2, target_modules=targets), seed=0)
    layouts = adapters.layouts(adapter, wan)
    converted = WanPipeline.lora_state_dict(dict(layouts["comfyui_lora.safetensors"]))
    assert converted.keys() == layouts["pytorch_lora_weights.safetensors"].keys()


def test_fresh_adapter_changes_nothing_and_depends_on_the_seed_alone() -> None:
    case = scene("tiny-unet", torch.float32)
    fresh = base_model("tiny-unet", torch.float32)
    bare = rollout.generate(
        rollout.Batch(fresh, case.conditions, case.noise, case.video, generators(2))
    )
    torch.manual_seed(0)
    one = adapters.attach(fresh, Adapter(rank=4), seed=5)
    assert torch.equal(latents_of(case._replace(base=fresh)), bare)
    torch.manual_seed(1)
    states = [
        adapters.attach(
            base_model("tiny-unet", torch.float32), Adapter(rank=4), seed=seed
        ).state_dict()
        for seed in (5, 6)
    ]
    names = [name for name, _ in one.parameters()]
    assert list(states[0]) == names
    assert all(torch.equal(one.state_dict()[name], states[0][name]) for name in names)
    firsts = [name for name in names if ".lora_A." in name]
    assert not any(torch.equal(states[0][name], states[1][name]) for name in firsts)


def test_only_the_adapter_learns_and_its_masters_are_float32() -> None:
    base = base_model("tiny-wan", torch.bfloat16)
    adapter = adapters.attach(base, Adapter(rank=2), seed=0)
    learning = [p for p in base.denoiser.parameters() if p.requires_grad]
    assert {id(p) for p in learning} == {id(p) for _, p in adapter.parameters()}
    assert {p.dtype for p in learning} == {torch.float32}
    with adapter.disabled():
        pass
    assert all(p.requires_grad for p in learning)
    assert base.denoiser.blocks[0].attn1.to_q.base_layer.weight.dtype == torch.bfloat16


def test_disabled_adapter_leaves_the_base_model() -> None:
    case = scene("tiny-wan", torch.float32)
    bare = case._replace(base=base_model("tiny-wan", torch.float32))
    with case.adapter.disabled():
        assert torch.equal(latents_of(case), latents_of(bare))
    assert not torch.equal(latents_of(case), latents_of(bare))


def test_state_is_a_copy_and_loads_back() -> None:
    adapter = adapters.attach(base_model("tiny-unet", torch.float32), Adapter(rank=2), seed=0)
    before = adapter.state_dict()
    stir(adapter)
    changed = adapter.state_dict()
    assert any(not torch.equal(before[name], changed[name]) for name in before)
    adapter.load_state_dict(before)
    assert all(torch.equal(before[name], now) for name, now in adapter.state_dict().items())


def test_state_of_another_rank_is_refused() -> None:
    adapter = adapters.attach(base_model("tiny-unet", torch.float32), Adapter(rank=2), seed=0)
    other = adapters.attach(base_model("tiny-unet", torch.float32), Adapter(rank=3), seed=0)
    with pytest.raises(CheckpointUnusable, match="lora_A") as caught:
        adapter.load_state_dict(other.state_dict())
    assert "Rank" in caught.value.hint


def test_targets_that_match_nothing_are_refused_with_what_exists() -> None:
    base = base_model("tiny-unet", torch.float32)
    with pytest.raises(SpecUnusable, match="no_such_layer") as caught:
        adapters.attach(base, Adapter(target_modules=["no_such_layer"]), seed=0)
    assert "to_q" in caught.value.hint
