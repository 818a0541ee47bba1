"""The command `generate`: makes the videos of one request and writes what came of it as result.json. Free of torch."""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from vader_core import short_command
from vader_core.catalogue import Catalogue
from vader_core.errors import SpecUnusable
from vader_core.faults import InvalidSpec
from vader_core.generating import GenerationOutput, GenerationResult
from vader_core.generation_faults import AdapterOrigin, check
from vader_core.order import storage_fault
from vader_core.short_command import Order, unusable

RESULT = "result.json"
IMAGES = "images"
_LINEAGE = "lineage.json"
_CONFIG = "adapter_config.json"


def run(order: Order) -> int:
    """The exit status: 0 with a result in `order.out`/result.json, else that of the error in it."""
    return short_command.answer(lambda: _generate(order), GenerationOutput, into=order.out / RESULT)


def _generate(order: Order) -> GenerationResult:
    try:
        order.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        unwritten = SpecUnusable(f"{order.out} cannot be used: {error}", hint="Name a folder.")
        raise storage_fault(error) or unwritten from error
    catalogue = Catalogue.load(order.catalogue, weights_dir=order.weights)
    document = short_command.read_document(order.request)
    folder = order.request.parent
    try:
        spec = check(document, catalogue, lambda adapter: origin_of(folder / adapter, document))
    except InvalidSpec as error:
        raise unusable(error.faults) from error
    # Imported only now: a faulty request is answered without waiting for torch.
    generator = importlib.import_module("vader_core.generator")
    places = generator.Places(
        adapter=None if spec.adapter is None else folder / spec.adapter,
        images=folder / IMAGES,
        out=order.out,
    )
    result: GenerationResult = generator.generate(
        spec, catalogue, places, device=order.device, threads=order.threads
    )
    return result.model_copy(update={"seconds": time.monotonic() - order.started})


def origin_of(adapter: Path, document: JsonValue) -> AdapterOrigin | None:
    """What the adapter in the folder `adapter` was trained on; None where there is none.

    Only lineage.json knows of a variant; without that file it is as `document` asks.
    """
    lineage = _object(adapter / _LINEAGE).get("base_model")
    if isinstance(lineage, dict):
        variant = lineage.get("variant")
        name = variant.get("name") if isinstance(variant, dict) else None
        return AdapterOrigin(f"{lineage.get('id')}@{lineage.get('version')}", name)
    # Adapters of several denoisers have a folder for each.
    configs = [adapter / _CONFIG, *sorted(adapter.glob(f"*/{_CONFIG}"))]
    named = [_object(config).get("base_model_name_or_path") for config in configs]
    asked = document.get("variant") if isinstance(document, dict) else None
    variant = asked if isinstance(asked, str) else None
    return next((AdapterOrigin(name, variant) for name in named if isinstance(name, str)), None)


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
