# Generated from client/aio/api.py by `python -m tests.sync_client`. Do not edit.
"""The Python client: one method for each thing that the REST API offers, with typed results."""

from __future__ import annotations

from types import TracebackType

from client.sync.access import AccessCalls
from client.sync.adapters import AdapterCalls
from client.sync.catalogue import CatalogueCalls
from client.sync.events import EventCalls
from client.sync.generations import GenerationCalls
from client.sync.job_actions import JobActionCalls
from client.sync.job_history import JobHistoryCalls
from client.sync.jobs import JobCalls
from client.sync.prompt_sets import PromptSetCalls
from client.sync.scorings import ScoringCalls
from client.sync.transport import Transport
from client.sync.webhooks import WebhookCalls


class VaderClient(
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

    def __enter__(self) -> VaderClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._transport.url

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()
