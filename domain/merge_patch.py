"""JSON merge patch (RFC 7396): how overrides change a spec. Pure."""

from __future__ import annotations

from pydantic import JsonValue


def merged(target: JsonValue, patch: JsonValue) -> JsonValue:
    """`target` as `patch` changes it; neither is touched.

    Objects are merged member by member, null takes a member away, everything else (lists too) replaces
    what was there.
    """
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made


def gives(patch: JsonValue, path: list[str]) -> bool:
    """Whether what stands at `path` of a merged document comes from `patch`, in whole or in part.

    True also where the patch took it away.
    """
    for name in path:
        if not isinstance(patch, dict):
            return True
        if name not in patch:
            return False
        patch = patch[name]
    return True
