"""Puts the API together: `uvicorn --factory api.app:create_app`, or `python -m api`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import APIRouter, Depends, FastAPI

from api import openapi, problems
from api.deps import current_caller, sound_parameters_only
from api.doorbell import Doorbell
from api.request_context import RequestContext
from api.routes import (
    adapters,
    catalogue,
    events,
    health,
    history,
    jobs,
    me,
    objects,
    problem_kinds,
    prompt_sets,
    samples,
    scorings,
    uploads,
)
from api.streams import EventFeed
from domain import listener
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
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_hears_the_doorbell,
    )
    app.state.settings = settings
    app.state.catalogue = Catalogue.load(settings.catalogue_file, weights_dir=settings.weights_dir)
    app.state.store = open_store(settings)
    app.state.doorbell = Doorbell()
    app.state.feed = EventFeed(app.state.doorbell)
    app.add_middleware(RequestContext)
    problems.install(app)
    openapi.install(app)
    app.include_router(_v1())
    for router in (objects.router, health.router, problem_kinds.router):
        app.include_router(router)
    return app


def _v1() -> APIRouter:
    """The routes that need an API key. The key is checked before anything else is looked at."""
    router = APIRouter(
        prefix="/v1",
        dependencies=[Depends(current_caller), Depends(sound_parameters_only)],
        responses=openapi.problems(401, 422, 500, 503),
    )
    own = (catalogue, scorings, uploads, prompt_sets, adapters, me)
    for module in (*own, jobs, events, history, samples):
        router.include_router(module.router)
    return router


@asynccontextmanager
async def _hears_the_doorbell(app: FastAPI) -> AsyncIterator[None]:
    doorbell: Doorbell = app.state.doorbell
    listening = asyncio.create_task(
        listener.listen(
            app.state.settings.database_url.get_secret_value(),
            on_job=doorbell.ring,
            on_gap=doorbell.ring_all,
        )
    )
    yield
    doorbell.close()
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
