"""A ledger of live tensors: what a computation holds at most, found by running it on tensors without values.

Under a `Ledger` every operation runs as always, on torch's meta device where its tensors lie there: shapes,
dtypes, views and lifetimes are those of a real run and no number is computed. Storages are counted when
an operation makes them and taken off when the last tensor on them is gone, which is what an allocator
sees that loses nothing to fragmentation.

Samplers decide things by small numbers: timesteps, sigmas, masks, frame numbers. Those are computed for
real. Small tensors that are sent to the meta device stay on the CPU, and meet tensors without values as
if they lay beside them.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

META = torch.device("meta")
# Tensors of up to so many numbers keep their values.
_SMALL = 2048
# torch's CUDA allocator hands out memory in multiples of this.
_UNIT = 512

_COPY = torch.ops.aten._to_copy.default
_INDEXED = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten.index_put.default,
)


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors on `device` while it is entered.

    `live` is what is held now. `mark` ends a stretch of the computation; `peaks` has the most that was
    held in each.
    """

    def __init__(self, device: torch.device = META) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peaks: list[int] = []
        self._device, self._peak = device, 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def mark(self) -> None:
        """Ends a stretch."""
        self.peaks.append(self._peak)
        self._peak = self.live

    def hold(self, tensors: Sequence[torch.Tensor]) -> int:
        """Counts tensors that exist already; returns the bytes that they add."""
        before = self.live
        for tensor in tensors:
            self._see(tensor)
        return self.live - before

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        with torch._C.DisableTorchFunction():
            result = _run(func, args, dict(kwargs or {}))
            for tensor in _tensors(result):
                self._see(tensor)
        return result

    def _see(self, tensor: torch.Tensor) -> None:
        if tensor.device != self._device:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = -(-storage.nbytes() // _UNIT) * _UNIT

        def gone(_: object) -> None:
            self.live -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, gone)
        self.live += size
        self._peak = max(self._peak, self.live)


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`func` with its tensors on one device, whichever of the two they come from."""
    given = _tensors((args, kwargs))
    if func is _COPY and not given[0].is_meta and given[0].numel() <= _SMALL:
        return func(*args, **({**kwargs, "device": None} if _to_meta(kwargs) else kwargs))
    if not any(tensor.is_meta for tensor in given):
        return func(*args, **kwargs)
    if func is torch.ops.aten._local_scalar_dense.default:
        # A number without a value, such as a model's temperature, scales something: by 1.
        return 1.0
    if func is torch.ops.aten.nonzero.default and given[0].numel() <= _SMALL:
        return torch.ones(given[0].shape).nonzero()  # nothing is known to be zero
    if func is _COPY and torch.device(kwargs.get("device") or META).type == "cpu":
        return torch.zeros(given[0].shape, dtype=kwargs.get("dtype") or given[0].dtype)
    if not given[0].is_meta and _writes_first(func):
        return given[0]  # values that nobody knows are not written into values that somebody does
    if func in _INDEXED:
        args = (args[0], _places(args[1]), *args[2:])
    if not all(tensor.is_meta for tensor in given):
        args, kwargs = tree_map_only(torch.Tensor, _without_values, (args, kwargs))
    return _remembered(func, args, kwargs)


def _remembered(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of `func`, whose shape is worked out once: layers repeat, and that is slow."""
    if not _is_fresh(func):
        return func(*args, **kwargs)
    try:
        key = (func, _key(args), _key(tuple(kwargs.items())))
        known = _RESULTS.get(key)
    except TypeError:  # something that cannot be a key
        return func(*args, **kwargs)
    if known is None:
        result = func(*args, **kwargs)
        _RESULTS[key] = _shapes(result)
        return result
    one, shapes = known
    made = [_made(shape) for shape in shapes]
    return made[0] if one else tuple(made)


def _is_fresh(func: Any) -> bool:
    """Whether the results of `func` are new storages."""
    if func not in _FRESH:
        schema = func._schema
        aliases = any(part.alias_info for part in (*schema.arguments, *schema.returns))
        # Says that its result is new, and is a view nonetheless.
        _FRESH[func] = not aliases and func is not torch.ops.aten._unsafe_view.default
    return _FRESH[func]


_FRESH: dict[Any, bool] = {}
# Whether there is one result, and for every result its shape, strides and dtype, or itself.
_RESULTS: dict[Any, tuple[bool, list[Any]]] = {}


def _key(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.Tensor, tuple(value.shape), value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple(_key(part) for part in value)
    return type(value), value


def _shapes(result: Any) -> tuple[bool, list[Any]]:
    parts = result if isinstance(result, (tuple, list)) else [result]
    shapes = [
        (tuple(part.shape), part.stride(), part.dtype) if isinstance(part, torch.Tensor) else part
        for part in parts
    ]
    return parts is not result, shapes


def _made(shape: Any) -> Any:
    if not isinstance(shape, tuple):
        return shape
    size, stride, dtype = shape
    return torch.empty_strided(size, stride, dtype=dtype, device=META)


def _tensors(values: Any) -> list[torch.Tensor]:
    """The tensors in tuples, lists and dictionaries."""
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, (tuple, list)):
        return []
    return [tensor for value in values for tensor in _tensors(value)]


def _to_meta(kwargs: Mapping[str, Any]) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "meta"


def _writes_first(func: Any) -> bool:
    alias = func._schema.arguments[0].alias_info
    return alias is not None and bool(alias.is_write)


def _places(indices: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Masks as the numbers of the places that they choose, which need values to be found."""
    found: list[torch.Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype == torch.bool and not index.is_meta:
            found += index.nonzero().unbind(1)
        else:
            found.append(index)
    return found


def _without_values(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_meta:
        return tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)
