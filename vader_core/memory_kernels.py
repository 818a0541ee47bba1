"""What torch would run on a CUDA device, for tensors that have no values.

Two of its choices hang on the device and decide how much is kept for the backward pass:
- which operations autocast computes in its lower precision and which in float32;
- the fused attention, which keeps one number per query and head where a plain one keeps a matrix.

The autocast rules are those of torch's own table (aten/src/ATen/autocast_mode.h); attention is the flash
kernel in half precision without a mask, the memory-efficient kernel otherwise, as torch prefers them.
Whether autocast is on, and with which dtype, is read from torch's CPU autocast: activation checkpoints
save that state and restore it when they compute again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from vader_core.patching import replaced

# Names of the Python functions and methods that autocast has a rule for.
_LOWER = frozenset(
    {
        *("linear", "conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "einsum", "prelu"),
        *("addmm", "addmv", "addr", "addbmm", "baddbmm"),
    }
)
_FLOAT32 = frozenset(
    {
        *("layer_norm", "group_norm", "rms_norm", "norm", "vector_norm", "matrix_norm"),
        *("softmax", "log_softmax", "softplus", "logsumexp", "cosine_similarity"),
        *("sum", "prod", "cumsum", "cumprod", "exp", "expm1", "log", "log10", "log1p", "log2"),
        *("pow", "__pow__", "__rpow__", "rsqrt", "reciprocal", "tan", "sinh", "cosh"),
        *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "interpolate", "dist", "cdist"),
    }
)
_BACKWARD = (torch.autograd.grad, torch.autograd.backward)
_HALF = (torch.float16, torch.bfloat16)
# Largest width of a head that the flash kernel takes.
_FLASH_WIDTH = 256


@contextmanager
def cuda_kernels() -> Iterator[None]:
    """Inside, operations on meta tensors are those that torch would choose on a CUDA device."""
    with CudaKernels(), replaced(torch, "autocast", _Autocast):
        yield


class _Autocast(torch.autocast):
    """Models ask for the autocast of the device that their tensors lie on, which the meta device lacks."""

    def __init__(
        self, device_type: str, dtype: torch.dtype | None = None, *args: Any, **kwargs: Any
    ) -> None:
        if device_type == "meta":
            # Float32 is no autocast: torch warns and switches it off.
            device_type, kwargs["enabled"] = "cpu", dtype != torch.float32
            dtype = None if dtype == torch.float32 else dtype
        super().__init__(device_type, dtype, *args, **kwargs)


class CudaKernels(TorchFunctionMode):
    """The choices themselves. Use by `cuda_kernels`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        options = dict(kwargs or {})
        if func in _BACKWARD:
            # Such a function runs without this mode, but what checkpoints compute again needs it.
            run = functools.partial(self._inside, torch.autograd.graph._engine_run_backward)
            with replaced(torch.autograd, "_engine_run_backward", run):
                return func(*args, **options)
        if not _is_without_values((*args[:3], *options.values())):
            return func(*args, **options)
        if func is functional.scaled_dot_product_attention:
            return _attention(*_lowered((args, options)))
        if torch.is_autocast_enabled("cpu"):
            name = getattr(func, "__name__", "")
            if name in _LOWER:
                args, options = _lowered((args, options))
            elif name in _FLOAT32:
                args, options = _cast((args, options), torch.float32)
        return func(*args, **options)

    def _inside(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self:
            return func(*args, **kwargs)


def _is_without_values(values: tuple[Any, ...]) -> bool:
    """Whether one of them is a tensor on the meta device."""
    with torch._C.DisableTorchFunction():
        return any(isinstance(one, torch.Tensor) and one.is_meta for one in values)


def _lowered(values: Any) -> Any:
    if not torch.is_autocast_enabled("cpu"):
        return values
    return _cast(values, torch.get_autocast_dtype("cpu"))


def _cast(values: Any, dtype: torch.dtype) -> Any:
    """Autocast changes floating tensors, and leaves float64 as it is."""

    def one(tensor: torch.Tensor) -> torch.Tensor:
        castable = tensor.dtype in (*_HALF, torch.float32)
        return tensor.to(dtype) if castable else tensor

    return tree_map_only(torch.Tensor, one, values)


def _attention(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    query, key, value = (_four_dimensional(given[name]) for name in names[:3])
    if given.get("enable_gqa"):
        groups = query.shape[1] // key.shape[1]
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    mask, is_causal = given.get("attn_mask"), bool(given.get("is_causal", False))
    scale = given.get("scale")
    fits = query.dtype in _HALF and query.shape[-1] == value.shape[-1] <= _FLASH_WIDTH
    if mask is None and fits:
        found = _flash(query, key, value, is_causal=is_causal, scale=scale)
    else:
        bias = None if mask is None else _bias(mask, query, key)
        needs_grad = any(one.requires_grad for one in (query, key, value))
        found = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, bias, needs_grad, 0.0, is_causal, scale=scale
        )[0]
    return found.reshape(*given["query"].shape[:-1], value.shape[-1])


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """The kernel takes widths that are multiples of 8, and torch pads for it."""
    width = query.shape[-1]
    if width % 8:
        scale = width**-0.5 if scale is None else scale
        query, key, value = (functional.pad(one, (0, -width % 8)) for one in (query, key, value))
    found: torch.Tensor = torch.ops.aten._scaled_dot_product_flash_attention(
        query, key, value, 0.0, is_causal, scale=scale
    )[0]
    return found[..., :width]


def _four_dimensional(tensor: torch.Tensor) -> torch.Tensor:
    """(batch, heads, tokens, width), of one head or one row where the attention has fewer dimensions."""
    if tensor.ndim == 3:
        return tensor[:, None]
    return tensor[None, None] if tensor.ndim == 2 else tensor


def _bias(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """A mask as what is added to the attention's logits, its rows padded to 16 numbers."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype)
    tokens = key.shape[-2]
    if tokens % 16 and mask.shape[-1] != 1:
        mask = functional.pad(mask, (0, -tokens % 16))[..., :tokens]
    return mask.expand(*query.shape[:2], query.shape[-2], tokens)
