"""Free ports of the loopback address."""

from __future__ import annotations

import socket

from client.stack.errors import PortTaken

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could take that loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def choose_port(asked: int | None, *, usual: int) -> int:
    """The port that was asked for, else the usual one, else a free one.

    Raises `PortTaken` when the one asked for is in use.
    """
    if asked is None:
        return usual if is_free(usual) else free_port()
    if not is_free(asked):
        raise PortTaken(
            f"Port {asked} is in use. Give another one with --port, or leave it out for a free one."
        )
    return asked
