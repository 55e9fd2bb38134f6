"""aiohttp's server and client, on the loop under test."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.clients.support import FOREIGN, HOST, needed, run
from tests.loop_checks.certificates import client_context, server_context

pytestmark = FOREIGN

BIG = b"0123456789" * 200_000


async def echo(request: Any) -> Any:
    return needed("aiohttp.web").Response(body=await request.read() or request.path.encode())


async def pieces(request: Any) -> Any:
    response = needed("aiohttp.web").StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_chunked(50_000):
        await response.write(piece)
    await response.write_eof()
    return response


async def socket(request: Any) -> Any:
    web = needed("aiohttp.web")
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        await connection.send_str(message.data)
    return connection


@asynccontextmanager
async def serving(file: Path, **options: Any) -> AsyncIterator[str]:
    """aiohttp's server on a free port of the running loop; the port."""
    web = needed("aiohttp.web")
    app = web.Application(client_max_size=10 * len(BIG))

    async def send_file(_: Any) -> Any:
        # By sendfile(), where there is no TLS.
        return web.FileResponse(file)

    app.add_routes([
        web.post("/pieces", pieces),
        web.get("/socket", socket),
        web.get("/file", send_file),
        web.route("*", "/{path:.*}", echo),
    ])  # fmt: skip
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, **options)
    await site.start()
    yield f"localhost:{runner.addresses[0][1]}"
    await runner.cleanup()


async def talk(session: Any, at: str, **options: Any) -> None:
    """Requests of several kinds, and a websocket."""
    async with session.get(f"{at}/hello", **options) as answer:
        assert (answer.status, await answer.read()) == (200, b"/hello")
    for path in ("/whole", "/pieces"):
        async with session.post(f"{at}{path}", data=io.BytesIO(BIG), **options) as answer:
            assert await answer.read() == BIG

    async def get(index: int) -> bytes:
        async with session.get(f"{at}/{index}", **options) as answer:
            return bytes(await answer.read())

    found = await asyncio.gather(*(get(index) for index in range(50)))
    assert found == [f"/{index}".encode() for index in range(50)]
    async with session.get(f"{at}/file", **options) as answer:
        assert await answer.read() == BIG
    async with session.ws_connect(f"{at}/socket", **options) as connection:
        for word in ("one", "two", "x" * 100_000):
            await connection.send_str(word)
            assert await connection.receive_str() == word


def test_server_and_client(tmp_path: Path) -> None:
    aiohttp = needed("aiohttp")
    (tmp_path / "file").write_bytes(BIG)

    async def main() -> None:
        async with serving(tmp_path / "file") as at, aiohttp.ClientSession() as session:
            await talk(session, f"http://{at}")

    run(main)


def test_server_and_client_with_tls(tmp_path: Path) -> None:
    aiohttp = needed("aiohttp")
    (tmp_path / "file").write_bytes(BIG)

    async def main() -> None:
        async with (
            serving(tmp_path / "file", ssl_context=server_context()) as at,
            aiohttp.ClientSession() as session,
        ):
            await talk(session, f"https://{at}", ssl=client_context())

    run(main)


def test_a_slow_answer_times_out() -> None:
    aiohttp = needed("aiohttp")

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(hang, HOST, 0)
        where = server.sockets[0].getsockname()
        timeout = aiohttp.ClientTimeout(total=0.05)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                await session.get(f"http://{HOST}:{where[1]}/")
            except TimeoutError:
                server.close()
                return
        raise AssertionError("it did not time out")

    run(main)
