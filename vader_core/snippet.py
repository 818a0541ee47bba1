"""The Python code by which a reader loads an adapter and makes a video with it. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from vader_core.catalogue import BaseModelRow, Variant


@dataclass(frozen=True)
class Loading:
    """How the pipeline is loaded with the adapter, and how it is called.

    `module` has the pipeline's class. `folders` says below which folder the files of each denoiser that
    has learned lie; `in_diffusers` whether `load_lora_weights` reads them. `arguments` are those of the
    call besides prompt and image.
    """

    module: str
    folders: Mapping[str, str]
    in_diffusers: bool
    takes_prompt: bool
    arguments: Mapping[str, JsonValue]


def snippet(row: BaseModelRow, variant: Variant | None, loading: Loading, *, prompt: str) -> str:
    """The code. BASE, ADAPTER, VARIANT and FIRST_IMAGE are left for the reader to fill in."""
    scheduler = {**row.scheduler, **(variant.scheduler if variant else {})}
    lines = [
        *(["import diffusers"] if "_class_name" in scheduler else []),
        *_imports(row, loading),
        "",
        f'pipe = {row.pipeline_class}.from_pretrained("BASE")',
        *_scheduler(scheduler),
        *_variant(variant),
        *_adapter(loading),
        *_call(row, loading, prompt),
    ]
    return "\n".join(lines) + "\n"


def _imports(row: BaseModelRow, loading: Loading) -> list[str]:
    lines = [f"from {loading.module} import {row.pipeline_class}"]
    if row.needs_image:
        lines.append("from diffusers.utils import load_image")
    if not loading.in_diffusers:
        lines.append("from peft import PeftModel")
    return lines


def _scheduler(changes: Mapping[str, JsonValue]) -> list[str]:
    if not changes:
        return []
    name = changes.get("_class_name")
    scheduler_class = f"diffusers.{name}" if name else "type(pipe.scheduler)"
    options = [f"{key}={value!r}" for key, value in changes.items() if key != "_class_name"]
    arguments = ", ".join(["pipe.scheduler.config", *options])
    return [f"pipe.scheduler = {scheduler_class}.from_config({arguments})"]


def _variant(variant: Variant | None) -> list[str]:
    if variant is None or variant.weights is None:
        return []
    files = [
        (variant.weight_name, ""),
        (variant.second_weight_name, ", load_into_transformer_2=True"),
    ]
    lines = [
        f'pipe.load_lora_weights("VARIANT", weight_name={name!r}{more})'
        for name, more in files
        if name is not None
    ]
    parts = '["transformer", "transformer_2"], ' if variant.second_weight_name else ""
    return [
        *lines,
        f"pipe.fuse_lora({parts}lora_scale={variant.lora_scale})",
        "pipe.unload_lora_weights()",
    ]


def _adapter(loading: Loading) -> list[str]:
    lines = []
    for denoiser, below in loading.folders.items():
        source = f'"ADAPTER/{below}"' if below else '"ADAPTER"'
        if loading.in_diffusers:
            more = ", load_into_transformer_2=True" if denoiser == "transformer_2" else ""
            lines.append(f"pipe.load_lora_weights({source}{more})")
        else:
            wrapped = f"PeftModel.from_pretrained(pipe.{denoiser}, {source})"
            lines.append(f"pipe.{denoiser} = {wrapped}.merge_and_unload()")
    return lines


def _call(row: BaseModelRow, loading: Loading, prompt: str) -> list[str]:
    arguments = {"prompt": repr(prompt)} if loading.takes_prompt else {}
    if row.needs_image:
        arguments["image"] = 'load_image("FIRST_IMAGE")'
    arguments |= {name: repr(value) for name, value in loading.arguments.items()}
    lines = [f"    {name}={value}," for name, value in arguments.items()]
    return ["frames = pipe(", *lines, ").frames[0]"]
