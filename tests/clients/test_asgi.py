"""uvicorn and hypercorn serve an ASGI application to httpx, which goes through anyio."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests import loops
from tests.clients.support import FOREIGN, HOST, app, ended, needed, run
from tests.loop_checks.certificates import CERTIFICATE, client_context
from tests.support import DEADLINE, eventually_async

pytestmark = FOREIGN

BIG = b"0123456789" * 100_000


@asynccontextmanager
async def uvicorn_serving(**options: Any) -> AsyncIterator[str]:
    """uvicorn on a free port of the running loop; its address."""
    uvicorn = needed("uvicorn")
    config = uvicorn.Config(app, host=HOST, port=0, log_level="warning", lifespan="on", **options)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await eventually_async(lambda: server.started or serving.done())
    scheme = "https" if "ssl_certfile" in options else "http"
    name = "localhost" if "ssl_certfile" in options else HOST
    yield f"{scheme}://{name}:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@asynccontextmanager
async def hypercorn_serving() -> AsyncIterator[str]:
    """hypercorn likewise."""
    hypercorn, config = needed("hypercorn.asyncio"), needed("hypercorn.config").Config()
    listener = socket.create_server((HOST, 0))
    config.bind = [f"fd://{listener.fileno()}"]
    config.accesslog = config.errorlog = None
    stop = asyncio.Event()
    serving = asyncio.create_task(hypercorn.serve(app, config, shutdown_trigger=stop.wait))
    yield f"http://{HOST}:{listener.getsockname()[1]}"
    stop.set()
    await serving
    listener.detach()


async def talk(client: Any, at: str) -> None:
    """Requests of several kinds, one after the other and many at a time."""
    answer = await client.get(f"{at}/hello")
    assert (answer.status_code, answer.content) == (200, b"/hello")
    assert answer.headers["x-loop"] == type(asyncio.get_running_loop()).__qualname__
    for path in ("/whole", "/pieces"):
        answer = await client.post(f"{at}{path}", content=BIG)
        assert answer.content == BIG
    answers = await asyncio.gather(*(client.get(f"{at}/{index}") for index in range(50)))
    assert [each.content for each in answers] == [f"/{index}".encode() for index in range(50)]
    received = b""
    async with client.stream("POST", f"{at}/pieces", content=BIG) as stream:
        async for piece in stream.aiter_bytes():
            received += piece
    assert received == BIG


def test_uvicorn_and_httpx() -> None:
    httpx = needed("httpx")

    async def main() -> None:
        async with uvicorn_serving() as at, httpx.AsyncClient(timeout=DEADLINE) as client:
            await talk(client, at)

    run(main)


def test_uvicorn_and_httpx_with_tls() -> None:
    httpx = needed("httpx")

    async def main() -> None:
        async with (
            uvicorn_serving(ssl_certfile=str(CERTIFICATE)) as at,
            httpx.AsyncClient(verify=client_context(), timeout=DEADLINE) as client,
        ):
            await talk(client, at)

    run(main)


def test_hypercorn_and_httpx() -> None:
    httpx = needed("httpx")

    async def main() -> None:
        async with hypercorn_serving() as at, httpx.AsyncClient(timeout=DEADLINE) as client:
            await talk(client, at)

    run(main)


def test_uvicorn_s_websockets() -> None:
    client = needed("websockets.asyncio.client")

    async def main() -> None:
        async with (
            uvicorn_serving(ws="websockets-sansio") as at,
            client.connect(at.replace("http", "ws")) as connection,
        ):
            for word in ("one", "two", "x" * 100_000):
                await connection.send(word)
                assert await connection.recv() == word

    run(main)


PROGRAM = """
import sys, uvicorn
from tests.clients.support import app
uvicorn.run(app, host="127.0.0.1", port=0, loop=sys.argv[1], log_level="info")
"""


def test_uvicorn_run_takes_the_loop_by_name() -> None:
    needed("uvicorn")
    httpx = needed("httpx")
    name = loops.FACTORIES.get(loops.chosen(), loops.chosen())
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, name], stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stderr
        at = next(line for line in program.stderr if "running on" in line)
        at = at.partition("running on ")[2].split()[0]

        async def main() -> str:
            async with httpx.AsyncClient(timeout=DEADLINE) as client:
                answer = await client.get(f"{at}/hello")
            assert answer.content == b"/hello"
            return str(answer.headers["x-loop"])

        assert run(main) == loops.class_name()
        program.send_signal(signal.SIGTERM)
        assert "Finished server process" in program.stderr.read()
        assert program.wait(DEADLINE) in (0, -signal.SIGTERM)


def test_a_client_that_leaves_is_noticed() -> None:
    left = []

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            assert message["type"] == "http.request"
        left.append(message)

    async def main() -> None:
        uvicorn = needed("uvicorn")
        config = uvicorn.Config(waiting, host=HOST, port=0, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await eventually_async(lambda: server.started or serving.done())
        where = server.servers[0].sockets[0].getsockname()
        _, writer = await asyncio.open_connection(*where)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        writer.close()
        await eventually_async(lambda: left)
        server.should_exit = True
        await serving
        await ended(serving)

    run(main)
