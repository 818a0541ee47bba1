"""Paths of the API, made of what callers give."""

from __future__ import annotations

import re
from urllib.parse import quote

from client.errors import BadArgument

_PLACE = re.compile(r"\{(path)?\}")


def at(template: str, *parts: str) -> str:
    """`template` with its places filled in: `{}` takes one segment, `{path}` a path of several.

    Raises `BadArgument` for a part that is empty or would lead elsewhere.
    """
    given = iter(parts)

    def filled(place: re.Match[str]) -> str:
        part = next(given)
        if not part or {".", ".."} & set(part.split("/")):
            raise BadArgument(f"{part!r} cannot be a part of the path {template}.")
        return quote(part, safe="@:/" if place[1] else "@:")

    return _PLACE.sub(filled, template)
