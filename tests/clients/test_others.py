"""websockets, Tornado, anyio and redis on the loop under test."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import loops
from tests.clients.support import FOREIGN, HOST, needed, run
from tests.loop_checks.certificates import client_context, server_context
from tests.support import DEADLINE

pytestmark = FOREIGN


def test_websockets() -> None:
    server, client = needed("websockets.asyncio.server"), needed("websockets.asyncio.client")

    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def one(at: str) -> None:
        async with client.connect(at, max_size=None) as connection:
            for message in ("one", b"two", "x" * 1_000_000):
                await connection.send(message)
                assert await connection.recv() == message
            await (await connection.ping())

    async def main() -> None:
        async with server.serve(echo, HOST, 0, max_size=None) as serving:
            port = serving.sockets[0].getsockname()[1]
            await asyncio.gather(*(one(f"ws://{HOST}:{port}") for _ in range(10)))

    run(main)


def test_websockets_with_tls() -> None:
    server, client = needed("websockets.asyncio.server"), needed("websockets.asyncio.client")

    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        async with server.serve(echo, HOST, 0, ssl=server_context()) as serving:
            port = serving.sockets[0].getsockname()[1]
            at = f"wss://localhost:{port}"
            async with client.connect(at, ssl=client_context()) as connection:
                await connection.send("x" * 100_000)
                assert await connection.recv() == "x" * 100_000

    run(main)


def test_tornado() -> None:
    web, httpclient = needed("tornado.web"), needed("tornado.httpclient")
    httpserver, netutil = needed("tornado.httpserver"), needed("tornado.netutil")

    class Echo(web.RequestHandler):
        async def post(self) -> None:
            await asyncio.sleep(0)
            self.write(self.request.body)

    async def main() -> None:
        server = httpserver.HTTPServer(web.Application([("/", Echo)]))
        sockets = netutil.bind_sockets(0, HOST)
        server.add_sockets(sockets)
        at = f"http://{HOST}:{sockets[0].getsockname()[1]}/"
        client = httpclient.AsyncHTTPClient()
        for body in (b"hello", b"x" * 1_000_000):
            answer = await client.fetch(at, method="POST", body=body)
            assert answer.body == body
        answers = await asyncio.gather(
            *(client.fetch(at, method="POST", body=str(index)) for index in range(30))
        )
        assert [each.body for each in answers] == [str(index).encode() for index in range(30)]
        client.close()
        server.stop()
        await server.close_all_connections()

    run(main)


def test_anyio(tmp_path: Path) -> None:
    anyio = needed("anyio")
    abc = needed("anyio.abc")

    async def echo(stream: Any) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data)

    async def talk(stream: Any) -> None:
        async with stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"

    async def main() -> str:
        listeners = [
            await anyio.create_tcp_listener(local_host=HOST),
            await anyio.create_unix_listener(tmp_path / "socket"),
        ]
        port = listeners[0].extra(abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            for each in listeners:
                group.start_soon(each.serve, echo)
            await talk(await anyio.connect_tcp(HOST, port))
            await talk(await anyio.connect_unix(tmp_path / "socket"))
            group.cancel_scope.cancel()
        for each in listeners:
            await each.aclose()
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep(DEADLINE)
        assert scope.cancelled_caught
        assert await anyio.to_thread.run_sync(anyio.from_thread.run_sync, int) == 0
        program = [sys.executable, "-S", "-c", "print(input())"]
        done = await anyio.run_process(program, input=b"from a process")
        assert done.stdout == b"from a process\n"
        return type(asyncio.get_running_loop()).__qualname__

    options = {"loop_factory": loops.factory()}
    assert anyio.run(main, backend_options=options) == loops.class_name()


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_redis(tmp_path: Path, over: str) -> None:
    redis = needed("redis.asyncio")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian and Ubuntu: apt install redis-server)")
    # Kept, so that nobody else is given the port; the server may bind to it as well.
    free = socket.socket()
    free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    free.bind((HOST, 0))
    port = free.getsockname()[1]
    path = tmp_path / "socket"
    options: list[str] = ["--save", "", "--dir", str(tmp_path), "--bind", HOST]
    options += ["--port", str(port if over == "tcp" else 0), "--unixsocket", str(path)]
    options += ["--enable-protected-configs", "yes"]

    async def main() -> None:
        server = await asyncio.create_subprocess_exec(
            program, *options, stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout
        while b"eady to accept connections" not in (line := await server.stdout.readline()):
            assert line, "redis-server ended"
        try:
            where = {"host": HOST, "port": port} if over == "tcp" else {"unix_socket_path": path}
            async with redis.Redis(**where) as client:
                await talk_to_redis(client)
        finally:
            server.terminate()
            await server.communicate()

    with free:
        run(main)


async def talk_to_redis(client: Any) -> None:
    """Values, a pipeline, a subscription, a wait that another client ends."""
    await client.set("key", b"x" * 1_000_000)
    assert await client.get("key") == b"x" * 1_000_000
    async with client.pipeline() as pipe:
        for index in range(100):
            pipe.rpush("list", index)
        assert await pipe.execute() == list(range(1, 101))
    assert await asyncio.gather(*(client.lindex("list", index) for index in range(50))) == [
        str(index).encode() for index in range(50)
    ]
    waiting = asyncio.create_task(client.blpop("queue", timeout=10))
    await client.rpush("queue", b"item")
    assert await waiting == (b"queue", b"item")
    async with client.pubsub() as subscription:
        await subscription.subscribe("news")
        assert (await subscription.get_message(timeout=10))["type"] == "subscribe"
        await client.publish("news", b"told")
        assert (await subscription.get_message(timeout=10))["data"] == b"told"
