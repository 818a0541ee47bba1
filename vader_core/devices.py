"""Where a run computes and how precisely."""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass

import torch

from vader_core.errors import SpecUnusable

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device and the dtype of the denoiser and the text encoder on it."""

    device: torch.device
    dtype: torch.dtype

    @property
    def precise_dtype(self) -> torch.dtype:
        """At least float32: the dtype of latents, LoRA masters, decoder and rewards."""
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def is_mixed(self) -> bool:
        """Whether the denoiser computes less precisely than its LoRA masters."""
        return self.dtype != self.precise_dtype

    def autocast(self) -> torch.autocast:
        """The denoiser's precision: LoRA masters are rounded to `dtype` where they are used."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.is_mixed)

    def clock(self) -> float:
        """Seconds of a monotonic clock, once the device has finished what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def pick(device: str, precision: str) -> Compute:
    """The compute for `device` (auto, cpu, cuda, cuda:N) and `precision` (auto, fp32, bf16, fp16).

    Auto is CUDA where there is one, there in bf16 (fp16 on devices without it), and fp32 on a CPU.
    Raises `SpecUnusable` for what this machine cannot do.
    """
    has_cuda = torch.cuda.is_available()
    name = ("cuda" if has_cuda else "cpu") if device == "auto" else device
    if name.startswith("cuda") and not has_cuda:
        raise SpecUnusable(
            f"The device {name!r} was asked for, but this machine offers no CUDA device.",
            hint="Use --device cpu, or install a CUDA build of torch and a driver.",
        )
    on_cuda = name.startswith("cuda")
    if precision == "auto":
        dtype = torch.float32
        if on_cuda:
            dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return Compute(torch.device(name), dtype)
    if precision == "fp16" and not on_cuda:
        raise SpecUnusable(
            "Precision fp16 needs a CUDA device.", hint="Use fp32 or bf16 on a CPU, or auto."
        )
    return Compute(torch.device(name), _DTYPES[precision])


def make_deterministic() -> None:
    """Makes torch use repeatable algorithms everywhere, and raise where it has none.

    To be called before the first CUDA operation.
    """
    # cuBLAS reads its workspace setting from the C environment and from nowhere else; without it
    # its matrix products may differ between runs, and torch refuses them in this mode.
    os.putenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = False


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory used so far: of the GPU where there is one, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
