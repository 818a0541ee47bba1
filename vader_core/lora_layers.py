"""The LoRA layers that PEFT has put into a denoiser, switched for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def lora_layers(denoiser: nn.Module) -> list[Any]:
    """All layers of `denoiser` that carry an adapter."""
    return [module for module in denoiser.modules() if isinstance(module, BaseTunerLayer)]


@contextmanager
def adapter_off(denoiser: nn.Module) -> Iterator[None]:
    """Inside, `denoiser` is the base model."""
    layers = lora_layers(denoiser)
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)


@contextmanager
def dropout_on(denoiser: nn.Module) -> Iterator[None]:
    """Inside, the adapter's dropout is active; the base model's never is."""
    modules = dropouts(denoiser)
    for module in modules:
        module.train()
    try:
        yield
    finally:
        for module in modules:
            module.eval()


def dropouts(denoiser: nn.Module) -> list[nn.Module]:
    """The adapter's dropout modules; none where its dropout is 0."""
    return [
        module
        for layer in lora_layers(denoiser)
        for module in layer.lora_dropout.values()
        if isinstance(module, nn.Dropout)
    ]
