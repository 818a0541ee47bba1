"""Adapters of every small pipeline, loaded by a process that has only diffusers and peft.

One process does them all: starting it takes longer than everything it does.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tests.vader_core import conformance
from tests.vader_core.conformance.suite import Conformance, Subject, make_subject, step_noise
from vader_core import adapter as adapters
from vader_core.families.family import Request
from vader_core.rollout import Batch, generate

# diffusers' Euler scheduler hands a tensor to numpy in a way that numpy means to refuse one day.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),
]

# Pipelines that diffusers lacks come from this package; the others run before it is imported.
SCRIPT = """
import importlib
import sys
import torch
from peft import PeftModel

cases = torch.load(sys.argv[1], weights_only=False)
found = {}
for case in sorted(cases, key=lambda case: case["module"] != "diffusers"):
    if case["module"] == "diffusers":
        assert not any(name.startswith("vader_core") for name in sys.modules)
    for way in ("peft", "diffusers"):
        if not case[way]:
            continue
        pipeline_class = getattr(importlib.import_module(case["module"]), case["class"])
        parts = {name: None for name in case["unused"]}
        pipeline = pipeline_class.from_pretrained(case["folder"], local_files_only=True, **parts)
        pipeline.set_progress_bar_config(disable=True)
        if case["padding_side"]:
            # Encoding a prompt sets it; here embeddings are given.
            pipeline.tokenizer.padding_side = case["padding_side"]
        if case["scheduler"]:
            name = case["scheduler"].pop("_class_name", type(pipeline.scheduler).__name__)
            scheduler_class = getattr(importlib.import_module("diffusers"), name)
            changed = scheduler_class.from_config(pipeline.scheduler.config, **case["scheduler"])
            case["scheduler"] = {"_class_name": name, **case["scheduler"]}
            pipeline.scheduler = changed
        for denoiser, source in case[way].items():
            if way == "peft":
                PeftModel.from_pretrained(getattr(pipeline, denoiser), source)
            elif denoiser == "transformer_2":
                pipeline.load_lora_weights(source, load_into_transformer_2=True)
            else:
                pipeline.load_lora_weights(source)
        for arguments in case["calls"]:
            if case["seeds"]:
                drawn = [torch.Generator().manual_seed(seed) for seed in case["seeds"]]
                arguments["generator"] = drawn
            for one in arguments.get("generator") or []:
                one.manual_seed(one.initial_seed())  # an earlier call has drawn from it
        outputs = [pipeline(**arguments) for arguments in case["calls"]]
        found[case["name"], way] = outputs
torch.save(found, sys.argv[2])
"""


def cases() -> list[type[Conformance]]:
    """Every subclass of `Conformance` in the test modules beside this one."""
    found: dict[str, type[Conformance]] = {}
    for module in pkgutil.iter_modules(conformance.__path__):
        if module.name.startswith("test_") and module.name != "test_export":
            imported = importlib.import_module(f"{conformance.__name__}.{module.name}")
            for name, member in inspect.getmembers(imported, inspect.isclass):
                if issubclass(member, Conformance) and hasattr(member, "build"):
                    found[name] = member
    return list(found.values())


class Exported(NamedTuple):
    """The latents (B, C, f, H, W) that this project makes, with and without adapter."""

    subject: Subject
    bare: torch.Tensor
    expected: torch.Tensor
    document: dict[str, Any]


def export(case: type[Conformance], folder: Path) -> Exported:
    """Writes the adapter of a small pipeline in all its layouts, and what a bare process needs."""
    subject = make_subject(case.build(folder / "base"), folder / "images", torch.float32)
    base = subject.base
    adapters.export(subject.adapter, base, folder / "adapter", card="", lineage={})
    shares = [(subject.conditions, subject.noise)]
    if base.family.one_video_per_call:
        shares = list(zip(subject.conditions.each(), subject.noise.split(1), strict=True))
    calls = [
        base.family.call(base.pipeline, Request(conditions, noise, subject.video, base.row.call))
        for conditions, noise in shares
    ]

    def latents() -> torch.Tensor:
        return generate(
            Batch(base, subject.conditions, subject.noise, subject.video, step_noise("steps"))
        )

    with subject.adapter.disabled():
        bare = latents()
    folders = {name: folder / "adapter" / below for name, below in subject.adapter.folders.items()}
    document = {
        "name": case.__name__,
        "module": "diffusers" if hasattr(_diffusers(), base.row.pipeline_class) else _own(base),
        "class": base.row.pipeline_class,
        "folder": str(base.row.folder),
        "unused": [name for name in base.pipeline.components if name.startswith("text_encoder")],
        "scheduler": dict(base.row.scheduler),
        "padding_side": getattr(base.pipeline.components.get("tokenizer"), "padding_side", None),
        "calls": copy.deepcopy(calls),
        "seeds": [one.initial_seed() for one in step_noise("steps") if case.stochastic],
        "peft": {name: str(place) for name, place in folders.items()},
        "diffusers": {
            name: str(place / "pytorch_lora_weights.safetensors")
            for name, place in folders.items()
            if adapters.loads_in_diffusers(base)
        },
    }
    return Exported(subject, bare, latents(), document)


def _diffusers() -> Any:
    return importlib.import_module("diffusers")


def _own(base: Any) -> str:
    return type(base.pipeline).__module__.rpartition(".")[0]


@pytest.fixture(scope="module")
def elsewhere(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Exported], dict[tuple[str, str], Any]]:
    scratch = tmp_path_factory.mktemp("export")
    exported = {case.__name__: export(case, scratch / case.__name__) for case in cases()}
    torch.save([one.document for one in exported.values()], scratch / "cases.pt")
    arguments = [str(scratch / "cases.pt"), str(scratch / "found.pt")]
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], check=True, cwd=scratch, env=_env(root)
    )
    return exported, torch.load(scratch / "found.pt", weights_only=False)


def _env(root: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.__name__)
def test_the_exported_adapter_gives_the_same_video_without_this_project(
    case: type[Conformance], elsewhere: Any
) -> None:
    exported, found = elsewhere
    subject, bare, expected, document = exported[case.__name__]
    base = subject.base
    assert (expected - bare).abs().max() > 1e-3
    for way in ("peft", "diffusers"):
        if document[way]:
            made = [
                base.family.to_grid(base.pipeline, base.family.result(output), subject.video)
                for output in found[case.__name__, way]
            ]
            assert torch.allclose(torch.cat(made), case.returned(expected), atol=1e-4), way
