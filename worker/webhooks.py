"""The process that sends webhooks: `python -m worker.webhooks`. Any number of them may run."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from uuid import UUID

from domain import listener, webhook_outbox
from domain.settings import get_settings
from worker.webhook_sender import Sender

log = logging.getLogger(__name__)


def main() -> int:
    """Sends until SIGTERM or SIGINT, and then ends what is on its way."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(_run())
    return 0


async def _run() -> None:
    settings = get_settings()
    sender = Sender(allow_private=settings.webhook_allow_private)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, sender.stop)

    def queued(_project_id: UUID) -> None:
        sender.look()

    listening = asyncio.create_task(
        listener.listen(
            settings.database_url.get_secret_value(),
            channel=webhook_outbox.CHANNEL,
            on_id=queued,
            on_gap=sender.look,
        )
    )
    log.info("sending webhooks")
    await sender.run()
    listening.cancel()


if __name__ == "__main__":
    sys.exit(main())
