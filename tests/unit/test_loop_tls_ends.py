"""TLS on the event loop: errors, peers that misbehave, and what comes between data."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.loop_checks.certificates import CERTIFICATE
from tests.support import DEADLINE, eventually_async
from tests.unit.secure import Buffered, Ends, Plain, contexts, either_way, is_native, raw

# A record of application data with nothing that any key has made.
BAD_RECORD = b"\x17\x03\x03\x00\x20" + bytes(range(32))

# An option of OpenSSL 3 that the ssl module has no name for.
ALLOW_CLIENT_RENEGOTIATION = 1 << 8


native = pytest.fixture(params=["native", "asyncio"])(either_way)


@pytest.fixture
def ends(native: bool) -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def handled(ends: Ends) -> list[str]:
    """What the exception handler was told."""
    return [context["message"] for context in ends.contexts]


class Failing(Plain):
    """Raises with its first piece of data."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        raise self.error


class FailingBuffered(Buffered):
    """The same, in the callback that is named."""

    def __init__(self, error: BaseException, where: str) -> None:
        super().__init__()
        self.error, self.where = error, where

    def get_buffer(self, sizehint: int) -> bytearray:
        if self.where == "get_buffer":
            raise self.error
        return super().get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        raise self.error


FAILING: dict[str, Callable[[BaseException], Any]] = {
    "data_received": Failing,
    "get_buffer": lambda error: FailingBuffered(error, "get_buffer"),
    "buffer_updated": lambda error: FailingBuffered(error, "buffer_updated"),
}


# The callback may be called before the client knows that it is connected.
@pytest.mark.parametrize("where", FAILING)
def test_what_a_callback_raises_is_reported_and_ends_the_connection(ends: Ends, where: str) -> None:
    error = ValueError("of the application")

    async def main() -> None:
        server, client = FAILING[where](error), Plain()
        await ends.connect(server, client)
        client.transport.write(b"data")
        assert await server.ended() is error
        await client.ended()

    ends.run(main())
    assert handled(ends) == ["Fatal error on SSL protocol"]
    assert ends.contexts[0]["exception"] is error


class FailingWriter(Plain):
    """Writes more than goes out, and raises in the callback that is named."""

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__()
        self.fails = {where: error}

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # What the socket does not take has it pause; what is written then has the writer pause.
        for _ in range(2):
            self.transport.write(bytes(8 << 20))

    def pause_writing(self) -> None:
        self.tell("pause_writing")

    def resume_writing(self) -> None:
        self.tell("resume_writing")

    def tell(self, name: str) -> None:
        self.events.append(name)
        if name in self.fails:
            raise self.fails[name]


@pytest.mark.parametrize("where", ["pause_writing", "resume_writing"])
def test_what_flow_control_raises_is_reported_and_ends_the_connection(
    ends: Ends, where: str
) -> None:
    error = ValueError("of the application")

    async def main() -> None:
        server, client = FailingWriter(where, error), Plain()
        await ends.connect(server, client)
        client.transport.write(b"data")
        assert await server.ended() is error
        assert server.events[-1] == where
        assert server.events.count(where) == 1
        await client.ended()

    ends.run(main())
    assert handled(ends) == [f"protocol.{where}() failed"]
    assert ends.contexts[0]["exception"] is error


def test_an_exception_that_is_no_error_ends_the_connection_too(ends: Ends) -> None:
    error = asyncio.CancelledError()

    async def main() -> None:
        server, client = Failing(error), Plain()
        await ends.connect(server, client)
        client.transport.write(b"data")
        assert await server.ended() is error

    ends.run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_leaves_the_loop_as_it_is(
    ends: Ends, error: type[BaseException]
) -> None:
    server, client = Failing(error()), Plain()

    async def main() -> None:
        await ends.connect(server, client)
        client.transport.write(b"data")
        await server.ended()

    with pytest.raises(error):
        ends.run(main())
    server.error = ValueError("now it is one")

    async def again() -> None:
        client.transport.write(b"data")
        await server.ended()

    ends.run(again())
    assert server.data == b"datadata"


class Interrupted(Buffered):
    """Is interrupted, once, when it is asked for its buffer."""

    soon = False

    def get_buffer(self, sizehint: int) -> bytearray:
        if self.soon:
            self.soon = False
            raise KeyboardInterrupt
        return super().get_buffer(sizehint)


def test_nothing_is_lost_when_get_buffer_is_interrupted(ends: Ends) -> None:
    server, client = Interrupted(), Plain()

    async def main() -> None:
        await ends.connect(server, client)
        server.soon = True
        client.transport.write(b"first")
        await server.got(5)

    with pytest.raises(KeyboardInterrupt):
        ends.run(main())

    async def again() -> None:
        client.transport.write(b"second")
        await server.got(11)

    ends.run(again())
    assert server.data == b"firstsecond"


@pytest.mark.parametrize("kind", [Plain, Buffered])
def test_garbage_is_the_same_error_as_in_asyncio(ends: Ends, kind: type[Any]) -> None:
    async def main() -> BaseException | None:
        server, client = kind(), Plain()
        await ends.connect(server, client)
        client.transport.write(b"good")
        assert await server.got(4) == b"good"
        with raw(client.transport) as sock:
            sock.send(BAD_RECORD)
        return await server.ended()

    error = ends.run(main())
    assert isinstance(error, ssl.SSLError)
    # The second is that of OpenSSL 3.2 and later.
    assert error.reason in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "RECORD_LAYER_FAILURE")
    assert error.library == "SSL"
    assert str(error).startswith(f"[SSL: {error.reason}] ")


def test_an_alert_is_the_same_error_as_in_asyncio(ends: Ends) -> None:
    async def main() -> BaseException | None:
        theirs, ours = contexts()
        server = Plain()
        port = await ends.serve(server, theirs)

        def peer() -> None:
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
                with ours.wrap_socket(sock, server_hostname="localhost") as secure:
                    secure.sendall(b"hello")
                    with pytest.raises(ssl.SSLError):
                        secure.recv(1)

        peering = ends.loop.run_in_executor(None, peer)
        await server.got(5)
        with raw(server.transport) as sock:
            sock.send(BAD_RECORD)
        await peering
        return await server.ended()

    error = ends.run(main())
    assert isinstance(error, ssl.SSLError)
    assert "ALERT_BAD_RECORD_MAC" in error.reason


def test_errors_that_somebody_left_behind_are_nobodys(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        with pytest.raises(ssl.SSLError):
            contexts()[0].load_verify_locations(cadata="no certificate")
        client.transport.write(b"hello")
        assert await server.got(5) == b"hello"
        client.transport.close()
        assert await server.ended() is None

    ends.run(main())


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_an_end_without_a_word_ends_the_connection(ends: Ends, how: int) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        client.transport.write(b"last words")
        with raw(client.transport) as sock:
            sock.shutdown(how)
        await server.ended()
        assert (server.data, server.events) == (b"last words", ["eof"])

    ends.run(main())


@pytest.mark.parametrize("size", [10, 16_384, 100_000])
def test_what_the_kernel_refuses_ends_the_connection(ends: Ends, size: int) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        with raw(client.transport) as sock:
            sock.shutdown(socket.SHUT_WR)
        for _ in range(3):
            client.transport.write(bytes(size))
        assert isinstance(await client.ended(), BrokenPipeError)
        assert client.transport.get_write_buffer_size() == 0

    ends.run(main())


def test_half_a_record_is_no_data(ends: Ends) -> None:
    async def main() -> None:
        server, client = Plain(), Plain()
        await ends.connect(server, client)
        with raw(client.transport) as sock:
            sock.send(b"\x17\x03\x03\x01\x00" + bytes(100))
            sock.shutdown(socket.SHUT_WR)
        await server.ended()
        assert server.data == b""

    ends.run(main())


@pytest.mark.parametrize("by_bytes", [1, 2, 5, 100])
def test_records_may_come_in_pieces(ends: Ends, by_bytes: int) -> None:
    """A client of its own, whose ciphertext is sent in pieces of any size."""

    async def main() -> None:
        theirs, ours = contexts()
        server = Plain()
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", await ends.serve(server, theirs)
        )
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ours.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(10_000))
        writer.write(outgoing.read())
        await eventually_async(lambda: server.transport)
        client.write(b"a" * 300)
        client.write(b"b" * 300)
        data = outgoing.read()
        for begin in range(0, len(data), by_bytes):
            writer.write(data[begin : begin + by_bytes])
            await asyncio.sleep(0)
        assert await server.got(600) == b"a" * 300 + b"b" * 300
        writer.close()
        await server.ended()

    ends.run(main())


class Upgrading(Plain):
    """Says hello in the clear, and goes on in TLS."""

    def __init__(self, ends: Ends, context: ssl.SSLContext, follower: Any) -> None:
        super().__init__()
        self.ends, self.context, self.follower = ends, context, follower
        self.task: Any = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(b"go")
        self.task = self.ends.loop.create_task(self.upgrade())

    async def upgrade(self) -> None:
        self.follower.transport = await self.ends.loop.start_tls(
            self.transport, self.follower, self.context, server_side=True
        )


@pytest.mark.parametrize("layers", [False, True], ids=["over-tcp", "over-tls"])
@pytest.mark.parametrize("kind", [Plain, Buffered])
def test_start_tls(ends: Ends, native: bool, layers: bool, kind: type[Any]) -> None:
    async def main() -> None:
        theirs, ours = contexts()
        follower, mine = kind(), kind()
        server, client = Upgrading(ends, theirs, follower), Plain()
        port = await ends.serve(server, theirs if layers else None)
        await ends.join(client, port, ours if layers else None)
        client.transport.write(b"upgrade")
        assert await client.got(2) == b"go"
        mine.transport = await ends.loop.start_tls(
            client.transport, mine, ours, server_hostname="localhost"
        )
        await eventually_async(lambda: follower.transport)
        assert is_native(mine.transport) is native
        data = bytes(range(256)) * 1_000
        for sender, receiver in ((mine, follower), (follower, mine)):
            sender.transport.write(data)
            assert await receiver.got(len(data)) == data
        mine.transport.close()
        assert await mine.ended() is None
        assert await follower.ended() is None
        await server.task

    ends.run(main())
    assert handled(ends) == []


def test_start_tls_says_what_is_wrong(ends: Ends) -> None:
    async def main() -> None:
        client = Plain()
        await ends.join(client, await ends.serve(Plain(), None), None)
        with pytest.raises(TypeError, match="SSLContext"):
            await ends.loop.start_tls(client.transport, client, None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not supported"):
            await ends.loop.start_tls(object(), client, contexts()[1])
        client.transport.abort()

    ends.run(main())


@pytest.mark.parametrize("has_one", [False, True])
def test_a_certificate_may_be_asked_for_after_the_handshake(ends: Ends, has_one: bool) -> None:
    async def main() -> BaseException | None:
        theirs, ours = contexts()
        theirs.verify_mode = ssl.CERT_OPTIONAL
        theirs.load_verify_locations(CERTIFICATE)
        theirs.post_handshake_auth = ours.post_handshake_auth = True
        if has_one:
            ours.load_cert_chain(CERTIFICATE)  # a server's, which is not what a client is to have
        server, client = Plain(), Plain()
        await ends.join(client, await ends.serve(server, theirs), ours)
        await eventually_async(lambda: server.transport)
        server.transport.get_extra_info("ssl_object").verify_client_post_handshake()
        server.transport.write(b"who are you?")
        assert await client.got(12) == b"who are you?"
        client.transport.write(b"me")
        if has_one:
            return await server.ended()
        assert await server.got(2) == b"me"
        return None

    error = ends.run(main())
    assert isinstance(error, ssl.SSLCertVerificationError) is has_one
    if isinstance(error, ssl.SSLCertVerificationError):
        assert error.reason == "CERTIFICATE_VERIFY_FAILED"
        assert "unsuitable" in str(error)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no program openssl")
@pytest.mark.parametrize(("version", "command"), [("1.3", "K"), ("1.3", "k"), ("1.2", "R")])
def test_keys_may_change_between_data(ends: Ends, version: str, command: str) -> None:
    """KeyUpdate, asked to answer (K) or not; renegotiation in TLS 1.2."""

    async def main() -> None:
        theirs, _ = contexts(version)
        if hasattr(ssl, "OP_NO_RENEGOTIATION"):
            theirs.options &= ~ssl.OP_NO_RENEGOTIATION
        theirs.options |= ALLOW_CLIENT_RENEGOTIATION
        server = Plain()
        port = await ends.serve(server, theirs)
        line = f"openssl s_client -connect 127.0.0.1:{port} -servername localhost"
        program = await asyncio.create_subprocess_exec(
            *line.split(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            for number in range(3):
                program.stdin.write(b"before\n")
                await server.got(number * 13 + 7)
                program.stdin.write(command.encode() + b"\n")
                # It takes all that it reads at once for the command.
                await program.stdout.readuntil(b"RENEGOTIATING" if command == "R" else b"KEYUPDATE")
                program.stdin.write(b"after\n")
                await server.got(number * 13 + 13)
                server.transport.write(b"answer %d\n" % number)
                await asyncio.wait_for(program.stdout.readuntil(b"answer %d\n" % number), DEADLINE)
            assert server.data == b"before\nafter\n" * 3
        finally:
            program.stdin.close()
            await program.wait()
        await server.ended()

    ends.run(main())


def test_what_was_counted_is_told_after_the_end(ends: Ends) -> None:
    theirs, ours = Plain(), Plain()

    async def main() -> None:
        await ends.connect(theirs, ours)
        ours.transport.write(b"data")
        assert await theirs.got(4) == b"data"
        ours.transport.close()
        for each in (ours, theirs):
            await each.ended()
        mine, others = (each.transport.get_extra_info("statistics") for each in (ours, theirs))
        assert mine.bytes_sent == others.bytes_received > 4
        assert mine.unsent == 0

    ends.run(main())
