"""Echo servers, as uvloop and rloop compare themselves by."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import Awaitable, Callable
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from typing import cast

# As their own benchmarks read; a little less than what malloc would map and unmap each time.
CHUNK = 102_400
BUFFER_BYTES = 256 * 1024
CERTIFICATE = "BENCH_CERTIFICATE"

# Begins to serve on a listening socket; what it returns is kept while it does.
Start = Callable[[socket], Awaitable[object]]


class Echo(asyncio.Protocol):
    """Sends back what it is given."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """Sends back a copy of what is in its buffer, which the next message overwrites."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = bytearray(BUFFER_BYTES)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(self.buffer[:nbytes])


async def with_protocol(factory: Callable[[], asyncio.BaseProtocol], listener: socket) -> object:
    return await asyncio.get_running_loop().create_server(factory, sock=listener)


async def with_tls(listener: socket) -> object:
    """The protocol, encrypted; the certificate and its key are in a file that is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ[CERTIFICATE])
    loop = asyncio.get_running_loop()
    return await loop.create_server(Echo, sock=listener, ssl=context)


async def with_streams(listener: socket) -> object:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
        writer.close()

    return await asyncio.start_server(echo, sock=listener, limit=CHUNK)


class Datagrams(asyncio.DatagramProtocol):
    """Sends each back to where it came from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def with_datagrams(listener: socket) -> object:
    """On the port of the same number."""
    loop = asyncio.get_running_loop()
    return await loop.create_datagram_endpoint(Datagrams, local_addr=listener.getsockname())


async def with_sockets(listener: socket) -> object:
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    async def echo(client: socket) -> None:
        with client:
            while data := await loop.sock_recv(client, CHUNK):
                await loop.sock_sendall(client, data)

    async def accept() -> None:
        while True:
            client, _ = await loop.sock_accept(listener)
            client.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            running.add(loop.create_task(echo(client)))

    return loop.create_task(accept())


STARTS: dict[str, Start] = {
    "protocol": functools.partial(with_protocol, Echo),
    "buffered": functools.partial(with_protocol, BufferedEcho),
    "streams": with_streams,
    "sock": with_sockets,
    "datagrams": with_datagrams,
    "tls": with_tls,
}
