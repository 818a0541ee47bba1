"""`python -m vader_core convert`: rewrites weights that are published in another format."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vader_core import convert
from vader_core.errors import SpecUnusable

_log = logging.getLogger(__name__)


def run(name: str, sources: Mapping[str, Path], out: Path) -> None:
    """Converts `sources` into the folder `out`.

    Raises `SpecUnusable` where there is no such converter or its sources are not the ones given, and
    `WeightsUnreadable` where they do not hold what they should.
    """
    present = {module.name for module in pkgutil.iter_modules(convert.__path__)}
    converter: Any = _module(name) if name in present else None
    if not hasattr(converter, "SOURCES"):
        known = sorted(one for one in present if hasattr(_module(one), "SOURCES"))
        raise SpecUnusable(f"There is no converter {name!r}.", hint=f"Known: {', '.join(known)}.")
    wanted: Mapping[str, str] = converter.SOURCES
    wrong = sorted(set(wanted) ^ set(sources))
    absent = sorted(str(path) for path in sources.values() if not path.exists())
    if wrong or absent:
        detail = f"no such file: {', '.join(absent)}" if absent else f"see {', '.join(wrong)}"
        described = "; ".join(f"{key}: {what}" for key, what in wanted.items())
        raise SpecUnusable(
            f"{name} cannot be given these sources ({detail}).",
            hint=f"Give --source NAME=PATH once for each of: {described}.",
        )
    converter.convert(sources, out)
    _log.info("%s is written", out)


def _module(name: str) -> Any:
    # Imported by name: what a converter needs takes seconds, and the others are not asked for.
    return importlib.import_module(f"{convert.__name__}.{name}")
