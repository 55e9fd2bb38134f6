"""TLS on the event loop: data in both directions, whoever decrypts it."""

from __future__ import annotations

import gc
import ssl
import weakref
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.secure import (
    VERSIONS,
    Buffered,
    Ends,
    Plain,
    contexts,
    either_way,
    is_native,
    noise,
    quiet_ends,
)

SIZES = (1, 2, 100, 16_383, 16_384, 16_385, 70_000, 262_144, 1_000_003)


native = pytest.fixture(params=["native", "asyncio"])(either_way)
ends = pytest.fixture(quiet_ends)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_written_arrives_in_both_directions(ends: Ends, native: bool, version: str) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client, version)
        assert [is_native(each.transport) for each in (server, client)] == [native, native]
        expected = b""
        for size in SIZES:
            expected += noise(size)
            for each in (server, client):
                each.transport.write(noise(size))
            assert await server.got(len(expected)) == expected
            assert await client.got(len(expected)) == expected

    ends.run(main())


@pytest.mark.parametrize("size", [1, 1000, 16_384, 100_000])
def test_a_buffered_protocol_gets_all_in_a_buffer_of_any_size(ends: Ends, size: int) -> None:
    async def main() -> None:
        server, client = Buffered(size), Plain()
        await ends.connect(server, client)
        data = noise(3_000 if size == 1 else 150_000)
        client.transport.write(data)
        client.transport.write(b"end")
        assert await server.got(len(data) + 3) == data + b"end"
        assert all(len(chunk) <= size for chunk in server.chunks)

    ends.run(main())


def test_many_messages_at_once_are_one_piece_of_data(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        server.transport.pause_reading()
        for number in range(100):
            client.transport.write(b"%d," % number)
        client.transport.write(b"")
        server.transport.resume_reading()
        expected = b"".join(b"%d," % number for number in range(100))
        assert await server.got(len(expected)) == expected
        assert b"" not in server.chunks

    ends.run(main())


class Strange(bytes):
    """Bytes that are not of the class bytes."""


def test_whatever_is_like_bytes_may_be_written(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        write = client.transport.write
        for data in (b"a", bytearray(b"b"), memoryview(b"cc"), Strange(b"d")):
            write(data)
        write(memoryview(b"e.e.")[::2])
        write(memoryview(bytes(8)).cast("Q"))
        client.transport.writelines([b"f", bytearray(b"g"), memoryview(b"h")])
        client.transport.writelines([])
        expected = b"abccdee" + bytes(8) + b"fgh"
        assert await server.got(len(expected)) == expected
        for wrong in ("text", None, [1]):
            with pytest.raises(TypeError):
                write(wrong)

    ends.run(main())


def test_what_is_changed_after_write_is_sent_as_it_was(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        server.transport.pause_reading()
        data = bytearray(b"x" * 3_000_000)
        client.transport.write(data)
        data[:] = b"y" * len(data)
        server.transport.resume_reading()
        assert (await server.got(len(data))).count(b"x") == len(data)

    ends.run(main())


def test_paused_reading_holds_everything_back(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        client.transport.write(b"held")
        client.transport.close()
        # Its answer to a second connection shows that the loop had time for the first.
        other = Plain()
        await ends.connect(Plain(), other)
        assert (server.chunks, server.events) == ([], [])
        server.transport.resume_reading()
        assert await server.got(4) == b"held"
        await server.ended()
        assert server.events == ["eof"]

    ends.run(main())


class Pausing(Plain):
    """Pauses with each piece of data."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.pause_reading()


@pytest.mark.parametrize("last", [b"", b"and its end"])
def test_a_protocol_that_pauses_in_its_callback_is_given_the_rest_later(
    ends: Ends, last: bytes
) -> None:
    async def main() -> None:
        server, client = Pausing(), Plain()
        await ends.connect(server, client)
        data = noise(500_000) + last
        client.transport.write(data)
        client.transport.close()
        while len(server.data) < len(data):
            count = len(server.chunks)
            await eventually_async(lambda count=count: len(server.chunks) > count)  # type: ignore[misc]
            server.transport.resume_reading()
        assert server.data == data
        await server.ended()
        assert server.events == ["eof"]

    ends.run(main())


class PausingInBuffer(Buffered):
    """Pauses when it is asked for its buffer, once."""

    def get_buffer(self, sizehint: int) -> bytearray:
        if not self.hints:
            self.transport.pause_reading()
        return super().get_buffer(sizehint)


def test_a_protocol_may_pause_in_get_buffer(ends: Ends) -> None:
    async def main() -> None:
        server, client = PausingInBuffer(7), Plain()
        await ends.connect(server, client)
        client.transport.write(b"a message of some length")
        await eventually_async(lambda: server.hints)
        server.transport.resume_reading()
        assert await server.got(24) == b"a message of some length"

    ends.run(main())


class Switching(Plain):
    """Gives way to another protocol with its first piece of data."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self.other = other

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.other.transport = self.transport
        self.transport.set_protocol(self.other)


@pytest.mark.parametrize("other", [Plain, Buffered])
def test_the_protocol_may_be_another_one_from_now_on(ends: Ends, other: type[Any]) -> None:
    async def main() -> None:
        follower = other()
        server, client = Switching(follower), Plain()
        await ends.connect(server, client)
        client.transport.write(b"first")
        assert await server.got(5) == b"first"
        assert server.transport.get_protocol() is follower
        client.transport.write(b"second")
        assert await follower.got(6) == b"second"
        assert server.data == b"first"

    ends.run(main())


class Answering(Plain):
    """Answers and closes, all within its callback."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data.upper())
        self.transport.close()
        self.transport.write(b"too late")


def test_a_protocol_may_answer_and_close_in_its_callback(ends: Ends) -> None:
    async def main() -> None:
        server, client = Answering(), Plain()
        await ends.connect(server, client)
        client.transport.write(b"question")
        assert await client.ended() is None
        assert (client.data, client.events) == (b"QUESTION", ["eof"])
        assert await server.ended() is None
        assert server.transport.is_closing()

    ends.run(main())


def test_what_was_written_before_close_arrives(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        data = noise(5_000_000)
        server.transport.write(data)
        server.transport.close()
        assert await client.ended() is None
        assert client.data == data
        assert client.events == ["eof"]

    ends.run(main())


def test_abort_ends_both_sides(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        client.transport.write(b"x" * 3_000_000)
        client.transport.abort()
        assert await client.ended() is None
        await server.ended()
        client.transport.write(b"too late")

    ends.run(main())


def test_extra_info_is_of_the_session(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        about = client.transport.get_extra_info
        assert about("ssl_object").version() == "TLSv1.3"
        assert about("cipher") == about("ssl_object").cipher()
        assert about("peercert")["subject"]
        assert about("peername") == server.transport.get_extra_info("sockname")
        assert about("sslcontext") is about("ssl_object").context
        assert about("nothing", 5) == 5

    ends.run(main())


@pytest.mark.parametrize("what", ["keylog", "messages"])
def test_who_looks_at_each_message_gets_asyncios_way(ends: Ends, what: str, tmp_path: Any) -> None:
    seen: list[object] = []

    async def main() -> None:
        theirs, ours = contexts()
        if what == "keylog":
            ours.keylog_filename = str(tmp_path / "keys")
        else:
            ours._msg_callback = lambda *event: seen.append(event)  # type: ignore[attr-defined]
        server, client = Plain(), Plain()
        await ends.join(client, await ends.serve(server, theirs), ours)
        assert not is_native(client.transport)
        client.transport.write(b"hello")
        assert await server.got(5) == b"hello"

    ends.run(main())
    assert seen or (tmp_path / "keys").read_text()


class Own(ssl.SSLObject):
    """An SSLObject that counts what it reads."""

    reads = 0

    def read(self, *args: Any) -> Any:
        Own.reads += 1
        return super().read(*args)


def test_an_ssl_object_of_a_class_of_its_own_is_asked(ends: Ends) -> None:
    async def main() -> None:
        theirs, ours = contexts()
        ours.sslobject_class = Own
        server, client = Plain(), Plain()
        await ends.join(client, await ends.serve(server, theirs), ours)
        before = Own.reads
        await eventually_async(lambda: server.transport)
        server.transport.write(b"hello")
        assert await client.got(5) == b"hello"
        assert Own.reads > before

    ends.run(main())


def test_a_connection_that_ended_leaves_nothing(ends: Ends) -> None:
    async def main() -> list[Any]:
        theirs, ours = contexts()
        server, client = Plain(), Buffered()
        await ends.join(client, await ends.serve(server, theirs), ours)
        client.transport.write(b"x" * 100_000)
        await server.got(100_000)
        inner = client.transport._ssl_protocol
        kept = [weakref.ref(each) for each in (client.transport, inner, ours)]
        kept.append(client.transport.get_extra_info("ssl_object"))
        client.transport.close()
        await client.ended()
        await server.ended()
        ends._all.clear()
        return kept

    transport, inner, context, ssl_object = ends.run(main())
    # It may be kept for ever, and leads to nothing that is gone.
    for _ in range(3):
        gc.collect()
    assert (transport(), inner()) == (None, None)
    assert ssl_object.context is context()
    with pytest.raises(ssl.SSLError):
        ssl_object.read(10)
    with pytest.raises(ssl.SSLError):
        ssl_object.write(b"x")
    del ssl_object
    gc.collect()
    assert context() is None
