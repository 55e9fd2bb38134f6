"""TLS on the event loop: how much is buffered, in either direction, before somebody is paused."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.secure import Ends, Plain, either_way, noise, quiet_ends, raw

native = pytest.fixture(params=["native", "asyncio"])(either_way)
ends = pytest.fixture(quiet_ends)


@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize("size", [1_000, 16_384, 100_000])
def test_writing_is_paused_while_the_peer_does_not_read(
    ends: Ends, size: int, limit: int | None
) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        client.transport.set_write_buffer_limits(limit)
        server.transport.pause_reading()
        data = noise(size)
        count = 0
        while client.events != ["pause"]:
            assert count * size < 100_000_000, "nobody paused it"
            client.transport.write(data)
            count += 1
        assert client.transport.get_write_buffer_size() > 0
        server.transport.resume_reading()
        assert await server.got(count * len(data)) == data * count
        await eventually_async(lambda: client.events == ["pause", "resume"])
        assert client.transport.get_write_buffer_size() == 0
        client.transport.write(b"more")
        await server.got(count * len(data) + 4)
        assert server.data.endswith(b"more")

    ends.run(main())


def test_what_is_empty_is_not_full_with_limits_of_zero(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        client.transport.set_write_buffer_limits(0)
        server.transport.set_read_buffer_limits(0)
        for count in range(1, 6):
            client.transport.write(b"some")
            assert await server.got(4 * count) == b"some" * count
            server.transport.write(b"more")
            assert await client.got(4 * count) == b"more" * count
        assert client.events == []

    ends.run(main())


def test_a_stream_with_limits_of_zero_drains(ends: Ends) -> None:
    async def main() -> None:
        reader, server = asyncio.StreamReader(), Plain()
        client: Any = asyncio.StreamReaderProtocol(reader)
        client.lost = False
        await ends.connect(server, client)
        client.transport = client._transport
        writer = asyncio.StreamWriter(client.transport, client, reader, ends.loop)
        writer.transport.set_write_buffer_limits(0)
        for turn in range(1, 6):
            # Nothing, one or two things happen between two writes.
            for _ in range(turn % 3):
                server.transport.write(b"tell")
                assert await reader.readexactly(4) == b"tell"
            writer.write(b"ask")
            await writer.drain()
            await server.got(3 * turn)
        writer.close()

    ends.run(main())


def is_read_from(protocol: Plain) -> bool:
    """Whether the socket is."""
    return bool(protocol.transport._ssl_protocol._transport.is_reading())


async def full(ends: Ends, server: Plain, client: Plain, ciphertext: bytes = b"") -> None:
    """The server's side has paused, and has as much as it may of what the client sends.

    That is data, or some ciphertext that is given.
    """
    await ends.connect(server, client)
    server.transport.set_read_buffer_limits(0)
    server.transport.pause_reading()
    if ciphertext:
        with raw(client.transport) as sock:
            sock.send(ciphertext)
    else:
        client.transport.write(b"data")
    await eventually_async(lambda: not is_read_from(server))


def test_a_socket_is_not_read_from_beyond_the_limit(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await full(ends, server, client)
        client.transport.write(b"more")
        assert server.data == b""
        server.transport.resume_reading()
        assert await server.got(8) == b"datamore"
        assert is_read_from(server)

    ends.run(main())


class Interrupted(Plain):
    """Is interrupted with its first piece of data."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if len(self.chunks) == 1:
            raise KeyboardInterrupt


def test_an_interrupt_does_not_keep_the_socket_paused(ends: Ends) -> None:
    server, client = Interrupted(), Plain()

    async def main() -> None:
        await full(ends, server, client)
        server.transport.resume_reading()
        await server.got(8)

    with pytest.raises(KeyboardInterrupt):
        ends.run(main())

    async def again() -> None:
        client.transport.write(b"more")
        assert await server.got(8) == b"datamore"

    ends.run(again())


def test_a_connection_that_is_closed_while_it_is_full_hears_of_its_peers_end(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        part_of_a_record = b"\x17\x03\x03\x01\x00" + bytes(100)
        await full(ends, server, client, part_of_a_record)
        server.transport.close()
        with raw(client.transport) as sock:
            sock.shutdown(socket.SHUT_WR)
        assert not isinstance(await server.ended(), TimeoutError)

    ends.run(main())
