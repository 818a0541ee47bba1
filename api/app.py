"""Puts the API together: `uvicorn --factory api.app:create_app`, or `python -m api`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from fastapi import APIRouter, Depends, FastAPI

from api import openapi, problems
from api.deps import current_caller, or_cookie, sound_parameters_only
from api.doorbell import Doorbell
from api.measured import Measured
from api.request_context import RequestContext
from api.routes import (
    adapters,
    api_keys,
    audit,
    catalogue,
    compare,
    docs,
    dry_run,
    events,
    generations,
    health,
    history,
    job_actions,
    jobs,
    logs,
    me,
    members,
    objects,
    problem_kinds,
    prompt_sets,
    samples,
    scorings,
    sessions,
    stream_tokens,
    successors,
    templates,
    uploads,
    usage,
    webhooks,
)
from api.streams import EventFeed
from domain import listener
from domain.events import CHANNEL
from domain.rate_limits import RateLimiter
from domain.reads import Reads
from domain.settings import Settings, get_settings
from domain.store import open_store
from vader_core.catalogue import Catalogue

API_VERSION = "1"


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Raises `SettingsInvalid`, or `CatalogueUnusable` for a faulty catalogue file."""
    settings = settings or get_settings()
    app = FastAPI(
        title="VADER",
        version=API_VERSION,
        generate_unique_id_function=openapi.operation_id,
        separate_input_output_schemas=False,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_hears_the_doorbell,
    )
    app.state.settings = settings
    app.state.catalogue = Catalogue.load(settings.catalogue_file, weights_dir=settings.weights_dir)
    app.state.store = open_store(settings)
    app.state.rate_limiter = RateLimiter(settings.redis_url.get_secret_value())
    # Hashing a password takes 64 MiB, on purpose.
    app.state.hashers = anyio.CapacityLimiter(2)
    app.state.doorbell = Doorbell()
    app.state.feed = EventFeed(
        app.state.doorbell, most=settings.streams, most_of_project=settings.streams_of_project
    )
    app.state.reads = Reads(settings.database_url.get_secret_value())
    app.state.measured = Measured(open_streams=app.state.feed.open_streams)
    app.add_middleware(RequestContext, measured=app.state.measured)
    problems.install(app)
    openapi.install(app)
    # Routes are tried one by one, so what is asked for most comes first; /jobs/compare before /jobs/{job_id}.
    for module in (compare, jobs, events, logs):
        app.router.routes.extend(module.polled.routes)
    app.include_router(_v1())
    app.include_router(_without_credential())
    for router in (objects.router, health.router, problem_kinds.router, docs.router):
        app.include_router(router)
    return app


def _v1() -> APIRouter:
    """The routes that need an API key. The key is checked before anything else is looked at."""
    router = APIRouter(
        prefix="/v1",
        dependencies=[Depends(current_caller), Depends(or_cookie), Depends(sound_parameters_only)],
        responses=openapi.problems(401, 422, 429, 500, 503),
    )
    # Of the jobs' routes, the fixed paths come before those with an id.
    for module in (dry_run, job_actions, jobs, history, successors, samples):
        router.include_router(module.router)
    router.include_router(job_actions.table_router)
    own = (generations, adapters, prompt_sets, templates, uploads, scorings, catalogue, me)
    access = (api_keys, members, sessions, usage, audit, stream_tokens, webhooks)
    for module in (*own, *access):
        router.include_router(module.router)
    return router


def _without_credential() -> APIRouter:
    """The routes by which members get one."""
    router = APIRouter(
        prefix="/v1",
        dependencies=[Depends(sound_parameters_only)],
        responses=openapi.problems(422, 500, 503),
    )
    router.include_router(sessions.open_router)
    return router


@asynccontextmanager
async def _hears_the_doorbell(app: FastAPI) -> AsyncIterator[None]:
    doorbell: Doorbell = app.state.doorbell
    listening = asyncio.create_task(
        listener.listen(
            app.state.settings.database_url.get_secret_value(),
            channel=CHANNEL,
            on_id=doorbell.ring,
            on_gap=doorbell.ring_all,
        )
    )
    limiter: RateLimiter = app.state.rate_limiter
    counting = asyncio.create_task(limiter.keep_in_step())
    yield
    doorbell.close()
    for task in (listening, counting):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await limiter.close()
    await app.state.reads.close()
