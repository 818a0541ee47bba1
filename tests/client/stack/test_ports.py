from __future__ import annotations

import socket

import pytest

from client.stack.errors import PortTaken
from client.stack.ports import choose_port, free_port


def test_the_usual_port_is_taken_when_it_is_free() -> None:
    usual = free_port()
    assert choose_port(None, usual=usual) == usual


def test_another_port_is_taken_when_the_usual_one_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        usual = other.getsockname()[1]
        assert choose_port(None, usual=usual) != usual


def test_a_port_that_was_asked_for_is_never_exchanged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(PortTaken, match="--port"):
        choose_port(other.getsockname()[1], usual=8000)
