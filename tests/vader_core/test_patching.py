from __future__ import annotations

import pytest

from vader_core.patching import replaced


class Greeter:
    def greet(self) -> str:
        return "hello"


def test_a_method_is_replaced_inside_the_block_and_leaves_no_trace() -> None:
    greeter = Greeter()
    with replaced(greeter, "greet", lambda: "hi"):
        assert greeter.greet() == "hi"
    assert greeter.greet() == "hello"
    assert vars(greeter) == {}


def test_an_attribute_of_the_instance_comes_back_even_after_an_error() -> None:
    greeter = Greeter()
    mine = replaced(greeter, "greet", lambda: "hi")
    vars(greeter)["greet"] = lambda: "good day"
    with pytest.raises(RuntimeError, match="inside"), mine:
        raise RuntimeError("inside")
    assert greeter.greet() == "good day"
