"""A transformers folder whose weights are published only as pytorch_model.bin, as safetensors.

Nothing but the format changes: names and values stay, tensors that share memory are written once each.
Such is hustvl/yolos-base on the hub.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file

from vader_core.convert.published import read, staged
from vader_core.errors import WeightsUnreadable

SOURCES = {
    "folder": "a copy of the published repository: pytorch_model.bin, config.json and its other files"
}
_WEIGHTS = "pytorch_model.bin"
_COPIED = {".json", ".txt", ".model"}


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the folder `out`. Raises `WeightsUnreadable` where the source is not as published."""
    source = sources["folder"]
    missing = [name for name in (_WEIGHTS, "config.json") if not (source / name).is_file()]
    if missing:
        raise WeightsUnreadable(
            f"The folder {source} lacks {', '.join(missing)}.", hint=f"Give {SOURCES['folder']}."
        )
    tensors = {name: tensor.clone() for name, tensor in read(source / _WEIGHTS).items()}
    with staged(out) as folder:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        for path in sorted(source.iterdir()):
            if path.suffix in _COPIED:
                shutil.copyfile(path, folder / path.name)
