"""`python -m vader_core fetch`: copies a row's weights from the hub and pins what it found. Free of torch.

Only weights, configurations and tokenizers are copied: no code, and no pickles but the ones that are
named for a converter. A folder appears whole or not at all; a broken-off copy is gone on with.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from vader_core import weights_lock
from vader_core.catalogue import (
    BaseModelRow,
    Catalogue,
    RewardRow,
    Variant,
    Weights,
    find_row,
)
from vader_core.errors import CatalogueUnusable, WeightsUnreadable
from vader_core.files import replace_folder, sha256
from vader_core.weights_lock import Locked, LockedFile

# The HTTP library below huggingface_hub differs from version to version; this is its base of all errors.
_TransportError: type[Exception] = HfHubHTTPError.__mro__[1]

# A chat template is text that transformers fills in inside a sandbox.
_KINDS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
# The same weights once more, at another precision.
_DOUBLES = ("*.fp16.*", "*.bf16.*", "*.fp16-*", "*.bf16-*", "*.non_ema.*")
_INDEX = "model_index.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What to fetch: a row of the catalogue, or one of its variants.

    `revision` is the commit that is asked for, `named` are files for a converter, and `endpoint` is
    the hub's address; None takes the library's own.
    """

    row_id: str
    variant: str | None = None
    revision: str | None = None
    named: tuple[str, ...] = ()
    endpoint: str | None = None


@dataclass(frozen=True)
class _Source:
    """Where from and where to. `weight_names` are the files of a variant, empty for a row."""

    weights: Weights
    repo: str
    folder: Path
    is_pipeline: bool
    weight_names: tuple[str, ...] = ()


def fetch(order: Order, catalogue: Catalogue, weights_dir: Path) -> Path:
    """The folder that now holds the weights; `weights_lock.LOCK_FILE` beside it pins them.

    Raises `CatalogueUnusable` where there is nothing to fetch, and `WeightsUnreadable` where the hub
    does not give it or another commit than the one pinned was asked for.
    """
    source = _source(order, catalogue, weights_dir)
    hub = HfApi(endpoint=order.endpoint)
    try:
        commit, published = _published(hub, source.repo, _revision(order, source))
        names = _wanted(order, source, commit, published)
        _copy(order, source, commit, names)
    except (_TransportError, OSError) as error:
        raise WeightsUnreadable(
            f"{source.repo} cannot be fetched: {type(error).__name__}: {error}",
            hint="Check the network, the repository's terms (log in with `hf auth login` where they "
            "must be accepted), and the room on the disk; then run the command again.",
        ) from error
    return source.folder


def _source(order: Order, catalogue: Catalogue, weights_dir: Path) -> _Source:
    base_model = find_row(order.row_id, catalogue.base_models)
    row: BaseModelRow | RewardRow | None = base_model or find_row(order.row_id, catalogue.rewards)
    if row is None:
        raise CatalogueUnusable(
            f"There is no base model or reward {order.row_id!r}.",
            hint="The catalogue's rows: GET /v1/base-models and /v1/rewards, or vader_core/rows.",
        )
    weights, label = row.weights, row.id
    variant = _variant({} if base_model is None else base_model.variants, order)
    if variant is not None:
        weights, label = variant.weights, f"{row.id}--{order.variant}"
    if weights is None or weights.repo is None:
        raise CatalogueUnusable(
            f"{label} has no weights on the hub.",
            hint="Nothing is to be fetched: they are part of the package, a folder of your own, or "
            "none are needed.",
        )
    names = () if variant is None else (variant.weight_name, variant.second_weight_name)
    # What a converter reads lies under the repository's name; what it makes, under the row's.
    published = weights.model_copy(update={"converter": None})
    return _Source(
        weights=weights,
        repo=weights.repo,
        folder=published.place(label, weights_dir),
        is_pipeline=base_model is not None and variant is None,
        weight_names=tuple(name for name in names if name),
    )


def _variant(variants: dict[str, Variant], order: Order) -> Variant | None:
    if order.variant is None:
        return None
    if order.variant not in variants:
        known = ", ".join(sorted(variants)) or "none"
        raise CatalogueUnusable(
            f"{order.row_id} has no variant {order.variant!r}.", hint=f"Known: {known}."
        )
    return variants[order.variant]


def _revision(order: Order, source: _Source) -> str | None:
    """The commit to copy; None takes the newest. Raises `WeightsUnreadable` where pins disagree."""
    pinned, entry = source.weights.revision, weights_lock.locked(source.folder)
    if order.revision is not None:
        if pinned not in {None, order.revision}:
            raise WeightsUnreadable(
                f"The catalogue pins {source.repo} at {pinned}, not {order.revision}.",
                hint="Use another commit by a catalogue row of your own.",
            )
        return order.revision
    if entry is None:
        return pinned
    if pinned not in {None, entry.commit}:
        raise WeightsUnreadable(
            f"{source.folder} is pinned at {entry.commit}, and the catalogue now pins {pinned}.",
            hint=f"Give --revision {pinned} to replace what was fetched.",
        )
    return entry.commit


def _published(hub: HfApi, repo: str, revision: str | None) -> tuple[str, list[str]]:
    """The commit and the names of its files."""
    found = hub.model_info(repo, revision=revision)
    if found.sha is None:
        raise WeightsUnreadable(f"The hub names no commit of {repo}.", hint="Try again later.")
    return found.sha, [sibling.rfilename for sibling in found.siblings or []]


def _wanted(order: Order, source: _Source, commit: str, published: list[str]) -> list[str]:
    """The names of the files to copy. Raises `WeightsUnreadable` where weights are not among them."""
    missing = {*order.named, *source.weight_names} - set(published)
    if missing:
        raise WeightsUnreadable(
            f"{source.repo} has no {', '.join(sorted(missing))} at {commit}.",
            hint=f"It has: {', '.join(sorted(published))}.",
        )
    if source.weight_names:
        return list(source.weight_names)
    if source.weights.converter is None and order.named:
        raise WeightsUnreadable(
            f"{order.row_id} needs no converter, so no file has to be named.",
            hint="Leave --file out.",
        )
    if source.weights.converter is not None and not order.named:
        raise WeightsUnreadable(
            f"{order.row_id} is published in another format: name the files to copy by --file.",
            hint=f"`python -m vader_core convert {source.weights.converter} --help` says what it "
            f"reads. {source.repo} has: {', '.join(sorted(published))}.",
        )
    kept = [name for name in published if _is_data(name)]
    if source.weights.converter is None:
        parts = _parts(order, source, commit, published) if source.is_pipeline else [""]
        kept = [name for name in kept if name == _INDEX or name.rpartition("/")[0] in parts]
        if not any(name.endswith(".safetensors") for name in kept):
            raise WeightsUnreadable(
                f"{source.repo} has no safetensors where they belong at {commit}.",
                hint="It is published in another format: convert it, and name the folder in a row "
                f"of your own. It has: {', '.join(sorted(published))}.",
            )
    return sorted({*kept, *order.named})


def _is_data(name: str) -> bool:
    is_double = any(fnmatch(name, pattern) for pattern in _DOUBLES)
    return any(fnmatch(name, pattern) for pattern in _KINDS) and not is_double


def _parts(order: Order, source: _Source, commit: str, published: list[str]) -> list[str]:
    """The folders of a pipeline: what lies beside them is the same model in other formats."""
    if _INDEX not in published:
        raise WeightsUnreadable(
            f"{source.repo} has no {_INDEX} at {commit}.",
            hint="It is not a diffusers pipeline: correct the row's weights.",
        )
    stage = _stage(source.folder)
    path = hf_hub_download(
        source.repo, _INDEX, revision=commit, local_dir=stage, endpoint=order.endpoint
    )
    index = json.loads(Path(path).read_text(encoding="utf-8"))
    return [name for name, entry in index.items() if isinstance(entry, list) and entry[0]]


def _copy(order: Order, source: _Source, commit: str, names: list[str]) -> None:
    stage = _stage(source.folder)
    held = weights_lock.locked(source.folder)
    if held is not None and held.commit == commit:
        # Another row's files of the same repository stay.
        names = sorted({*names, *held.files})
        _link(source.folder, stage, held.files)
    missing = [name for name in names if not (stage / name).is_file()]
    if missing:
        _log.info("fetching %d files of %s at %s", len(missing), source.repo, commit)
        snapshot_download(
            source.repo,
            revision=commit,
            local_dir=stage,
            allow_patterns=missing,
            endpoint=order.endpoint,
        )
    shutil.rmtree(stage / ".cache", ignore_errors=True)
    for path in [path for path in stage.rglob("*") if path.is_file()]:
        if path.relative_to(stage).as_posix() not in names:
            path.unlink()
    files = {
        name: LockedFile(sha256=sha256(stage / name), size=(stage / name).stat().st_size)
        for name in names
    }
    replace_folder(stage, source.folder)
    weights_lock.lock(source.folder, Locked(repo=source.repo, commit=commit, files=files))
    _log.info("%s is %s at %s", source.folder, source.repo, commit)


def _link(folder: Path, stage: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).is_file() and not (stage / name).exists():
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(folder / name, stage / name)


def _stage(folder: Path) -> Path:
    stage = folder.with_name(f"tmp-{folder.name}")
    stage.mkdir(parents=True, exist_ok=True)
    return stage
