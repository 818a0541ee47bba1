"""The Python client: one method for each thing that the REST API offers, with typed results."""

from __future__ import annotations

from types import TracebackType

from client.aio.access import AccessCalls
from client.aio.adapters import AdapterCalls
from client.aio.catalogue import CatalogueCalls
from client.aio.events import EventCalls
from client.aio.generations import GenerationCalls
from client.aio.job_actions import JobActionCalls
from client.aio.job_history import JobHistoryCalls
from client.aio.jobs import JobCalls
from client.aio.prompt_sets import PromptSetCalls
from client.aio.scorings import ScoringCalls
from client.aio.transport import Transport
from client.aio.webhooks import WebhookCalls


class AsyncVaderClient(
    AccessCalls,
    AdapterCalls,
    CatalogueCalls,
    EventCalls,
    GenerationCalls,
    JobActionCalls,
    JobCalls,
    JobHistoryCalls,
    PromptSetCalls,
    ScoringCalls,
    WebhookCalls,
):
    """A connection to one service with one API key. Not to be shared between threads.

    Every method raises `client.errors.VaderError`. Requests are sent again for some seconds when the
    service does not answer or is busy; what acts carries an `Idempotency-Key`, so it acts once. Lists are
    iterated through all of their pages, or read by `page`.
    """

    def __init__(self, url: str, api_key: str, *, timeout_s: float = 30.0) -> None:
        super().__init__(Transport(url, api_key, timeout_s=timeout_s))

    async def __aenter__(self) -> AsyncVaderClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._transport.url

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()
