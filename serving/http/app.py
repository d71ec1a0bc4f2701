"""The HTTP application: ``/v1/events`` takes what the shop's servers saw, the other routes answer what the SDK does.

Errors are ``{"error": {"type", "what", "hint"}}``, as the commands' ``--json`` prints them; neither they nor the log
repeat what a request said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from feature_repo.core.clock import Clock, SystemClock
from feature_repo.core.errors import PortraitError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.collector import Collector, Standing
from serving.http.access import Access
from serving.http.batches import Batches
from serving.http.direct import Direct
from serving.http.events import events_router
from serving.http.experiments import experiments_router
from serving.http.failures import broken, explaining, turned_away
from serving.http.health import WarmUp, health_router
from serving.http.keys import READ, ApiKeys
from serving.http.logs import Logged
from serving.http.metrics import Asgi, Metrics, Timed
from serving.http.reads import reads_router
from serving.http.reasons import reasons_router
from serving.http.recommending import recommend_router
from serving.http.tags import tags_router
from serving.local import PATIENCE, LocalTransport
from serving.sdk import client_by


def create_app(
    settings: Settings, *, clock: Clock | None = None, standing: Standing | None = None, logged: bool = False
) -> Asgi:
    """Build the application; nothing is connected to before the first request.

    Parameters
    ----------
    settings
        Of the home ``PORTRAIT_HOME`` names.
    clock
        Says when now is: when events arrive, and where windows end; the machine's if None.
    standing
        As in :class:`Collector`.
    logged
        Whether each request is logged.

    Raises
    ------
    SettingsError
        The settings are of another home.
    """
    clock = clock or SystemClock()
    collector = Collector(settings, clock, standing=standing, timeout_s=settings.timeout_s * PATIENCE)
    transport = LocalTransport(settings, clock, timeout_s=settings.timeout_s)
    client = client_by(transport)

    metrics, warm_up = Metrics(), WarmUp(client)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warm_up.start()
        yield
        await run_in_threadpool(warm_up.wait)
        await run_in_threadpool(collector.close)
        await run_in_threadpool(client.close)

    app = FastAPI(title="Portrait", lifespan=lifespan)
    answer = explaining(settings.home)
    app.add_exception_handler(PortraitError, answer)
    app.add_exception_handler(HTTPException, turned_away)
    app.add_exception_handler(Exception, broken)
    access = Access(ApiKeys(settings.home), clock, per_second=settings.rate_limit)
    app.include_router(events_router(collector, access))
    reads = reads_router(client, Batches(transport), access, metrics)
    app.include_router(reads)
    app.include_router(reasons_router(client, access))
    app.include_router(tags_router(client, access))
    app.include_router(recommend_router(client, access))
    app.include_router(experiments_router(client, access, metrics))
    app.include_router(health_router(client, warm_up, metrics, settings.home))
    timed = Timed(Direct(app, reads, access.needs(READ), answer), metrics)
    return Logged(timed) if logged else timed
