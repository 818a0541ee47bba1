from __future__ import annotations

from typing import Any

import pytest

from domain.merge_patch import gives, merged

# The examples of RFC 7396, appendix A.
EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_patches_merge_as_the_standard_says(target: Any, patch: Any, result: Any) -> None:
    before = repr((target, patch))
    assert merged(target, patch) == result
    assert repr((target, patch)) == before, "neither is touched"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["a"], True),
        (["a", "b", "0"], True),
        (["a", "c"], False),
        (["gone"], True),
        (["gone", "below"], True),
        (["other"], False),
        ([], True),
    ],
)
def test_it_is_known_what_a_patch_gave(path: list[str], expected: bool) -> None:
    assert gives({"a": {"b": [1]}, "gone": None}, path) is expected
