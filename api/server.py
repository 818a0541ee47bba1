"""Serves the API by uvicorn with the settings that it needs."""

from __future__ import annotations

import argparse
import gc
import logging
import socket
import sys
from contextlib import suppress

import uvicorn

from api.app import create_app
from api.doorbell import Doorbell
from domain.settings import SettingsInvalid
from vader_core.errors import CatalogueUnusable

# Streams end by themselves when the server stops; this bounds a request that does not.
STOP_WITHIN_S = 10


class Server(uvicorn.Server):
    """Ends open streams first: uvicorn waits for open connections, and theirs would never close."""

    def __init__(self, config: uvicorn.Config, doorbell: Doorbell) -> None:
        super().__init__(config)
        self.doorbell = doorbell

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.doorbell.close()
        await super().shutdown(sockets)


def make_server(*, host: str, port: int) -> Server:
    """A server for `create_app()`, not started yet. Port 0 takes a free one."""
    app = create_app()
    # What is there now stays, and the collector need not look through it again while requests wait.
    gc.collect()
    gc.freeze()
    proxies = app.state.settings.trusted_proxies
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        # The API's own access log leaves query strings out: they hold the signatures of links.
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )
    return Server(config, app.state.doorbell)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        server = make_server(host=arguments.host, port=arguments.port)
    except (CatalogueUnusable, SettingsInvalid) as error:
        sys.exit(f"The API cannot start: {error}")
    with suppress(KeyboardInterrupt):
        server.run()
