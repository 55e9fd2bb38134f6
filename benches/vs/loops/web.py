"""Web servers that answer in plain text; each is imported by the process that serves with it."""

from __future__ import annotations

import asyncio
from socket import socket
from typing import Any

from benches.vs.loops.echo import Start

TEXT = b"Hello, World!"
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(TEXT))]
# Connections wait while other loops have their turn.
IDLE_SECONDS = 3600


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": TEXT})


async def with_uvicorn(listener: socket) -> object:
    import uvicorn

    config = uvicorn.Config(
        hello,
        http="httptools",
        lifespan="off",
        log_level="error",
        access_log=False,
        timeout_keep_alive=IDLE_SECONDS,
    )
    server = uvicorn.Server(config)
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if serving.done():
        serving.result()
    return serving


async def with_aiohttp(listener: socket) -> object:
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=TEXT, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application, access_log=None, keepalive_timeout=IDLE_SECONDS)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner


STARTS: dict[str, Start] = {"uvicorn": with_uvicorn, "aiohttp": with_aiohttp}
