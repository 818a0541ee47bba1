"""What of an OpenAPI document's changes breaks clients that were written for the older one.

A request may only be allowed more, an answer may only promise more: what a client sends today must stay
legal, and what it reads today must stay there and keep its type. The service refuses fields that it does
not know, so a request field that goes away breaks whoever sends it. A value that is added to a closed set
of answers breaks generated clients; sets that are declared open have no `enum`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

Json = Mapping[str, Any]
Direction = Literal["request", "answer"]
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


def breaking(old: Json, new: Json) -> list[str]:
    """A line for every change from `old` to `new` that breaks a client; empty where none does."""
    return sorted(set(_Comparison(old, new).all()))


class _Comparison:
    """Two documents, whose references are looked up where they are met."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._open: set[tuple[str, str, Direction]] = set()

    def all(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method in _METHODS:
                if method not in methods:
                    continue
                where = f"{method.upper()} {path}"
                there = self._new["paths"].get(path, {}).get(method)
                if there is None:
                    yield f"{where}: is gone"
                else:
                    yield from self._operation(where, methods[method], there)

    def _operation(self, where: str, old: Json, new: Json) -> Iterator[str]:
        if old.get("operationId") != new.get("operationId"):
            yield f"{where}: operationId was {old.get('operationId')}"
        yield from self._parameters(where, old.get("parameters", []), new.get("parameters", []))
        yield from self._body(where, old.get("requestBody"), new.get("requestBody"))
        for status, answer in old["responses"].items():
            if int(status) >= 400:
                # Problems are one open format.
                continue
            if status not in new["responses"]:
                yield f"{where}: answers {status} no more"
                continue
            yield from self._contents(
                f"{where} {status}", answer, new["responses"][status], "answer"
            )

    def _parameters(self, where: str, old: list[Json], new: list[Json]) -> Iterator[str]:
        before = {(each["in"], each["name"]): each for each in old}
        after = {(each["in"], each["name"]): each for each in new}
        for place, parameter in before.items():
            name = f"{where} {place[0]} {place[1]}"
            if place not in after:
                yield f"{name}: is gone"
                continue
            if after[place].get("required") and not parameter.get("required"):
                yield f"{name}: is required now"
            schemas = parameter.get("schema", {}), after[place].get("schema", {})
            yield from self._schema(name, *schemas, "request")
        for place in after.keys() - before.keys():
            if after[place].get("required"):
                yield f"{where} {place[0]} {place[1]}: is new and required"

    def _body(self, where: str, old: Json | None, new: Json | None) -> Iterator[str]:
        if new is not None and new.get("required") and not (old or {}).get("required"):
            yield f"{where}: needs a body now"
        if old is not None and new is None:
            yield f"{where}: takes no body any more"
        if old is not None and new is not None:
            yield from self._contents(f"{where} body", old, new, "request")

    def _contents(self, where: str, old: Json, new: Json, direction: Direction) -> Iterator[str]:
        for media_type, content in old.get("content", {}).items():
            there = new.get("content", {}).get(media_type)
            if there is None:
                yield f"{where}: {media_type} is gone"
            else:
                schemas = content.get("schema", {}), there.get("schema", {})
                yield from self._schema(where, *schemas, direction)

    def _schema(self, where: str, old: Json, new: Json, direction: Direction) -> Iterator[str]:
        names = old.get("$ref", ""), new.get("$ref", ""), direction
        if names in self._open:
            # A schema that contains itself.
            return
        if names[0]:
            self._open.add(names)
        yield from self._found_schema(
            where, _found(self._old, old), _found(self._new, new), direction
        )
        self._open.discard(names)

    def _found_schema(
        self, where: str, old: Json, new: Json, direction: Direction
    ) -> Iterator[str]:
        one_of = _alternatives(old), _alternatives(new)
        if len(one_of[0]) > 1 or len(one_of[1]) > 1:
            yield from self._choices(where, *one_of, direction)
            return
        yield from _values(where, old, new, direction)
        yield from self._fields(where, old, new, direction)
        for part in ("items", "additionalProperties"):
            if isinstance(old.get(part), Mapping) and isinstance(new.get(part), Mapping):
                inner = f"{where}/{part}"
                yield from self._schema(inner, old[part], new[part], direction)

    def _choices(
        self, where: str, old: list[Json], new: list[Json], direction: Direction
    ) -> Iterator[str]:
        """A request may be any of the old forms, and an answer none but them."""
        asked, offered = (old, new) if direction == "request" else (new, old)
        for number, form in enumerate(asked):
            fits = any(
                not list(
                    self._schema(where, form, other, direction)
                    if direction == "request"
                    else self._schema(where, other, form, direction)
                )
                for other in offered
            )
            if not fits:
                what = "is refused now" if direction == "request" else "is new in an answer"
                name = form.get("$ref", "").rpartition("/")[2] or form.get("type", number)
                yield f"{where}: the form {name} {what}"

    def _fields(self, where: str, old: Json, new: Json, direction: Direction) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name not in after:
                if not (direction == "request" and new.get("additionalProperties", True)):
                    yield f"{where}/{name}: is gone"
                continue
            yield from self._schema(f"{where}/{name}", schema, after[name], direction)
        needed = set(old.get("required", [])), set(new.get("required", []))
        if direction == "request":
            yield from (f"{where}/{name}: is required now" for name in needed[1] - needed[0])
        else:
            gone = (needed[0] - needed[1]) & after.keys()
            yield from (f"{where}/{name}: may be missing now" for name in gone)


def _values(where: str, old: Json, new: Json, direction: Direction) -> Iterator[str]:
    narrow, wide = (new, old) if direction == "request" else (old, new)
    if not _types(wide) <= _types(narrow):
        yield f"{where}: was {sorted(_types(old))}, is {sorted(_types(new))}"
    if "enum" in narrow or "const" in narrow:
        allowed = narrow.get("enum", [narrow.get("const")])
        used = wide.get("enum", [wide["const"]] if "const" in wide else None)
        if used is None:
            yield f"{where}: has a closed set of values on one side only"
        else:
            yield from (f"{where}: the value {value!r}" for value in used if value not in allowed)
    if direction == "answer":
        return
    for names, worse in ((_AT_MOST, -1), (_AT_LEAST, 1)):
        for name in names:
            if name in new and (name not in old or (new[name] - old[name]) * worse > 0):
                yield f"{where}: {name} is {new[name]} now"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{where}: must match {new['pattern']} now"


def _types(schema: Json) -> set[str]:
    """The JSON types that are allowed; whole numbers are numbers."""
    named = schema.get("type")
    if named is None:
        every = {"string", "number", "integer", "boolean", "null", "object", "array"}
        return every if "enum" not in schema and "const" not in schema else set()
    types = {named} if isinstance(named, str) else set(named)
    return types | ({"integer"} if "number" in types else set())


def _alternatives(schema: Json) -> list[Json]:
    for name in ("anyOf", "oneOf"):
        if name in schema:
            forms: list[Json] = list(schema[name])
            return forms
    return [schema]


def _found(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        place: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        schema = place
    return schema
