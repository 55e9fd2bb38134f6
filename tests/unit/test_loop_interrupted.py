"""What is left when a callback is cut short: by Ctrl-C, for want of memory, at the very end."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from asyncio import AbstractEventLoop
from typing import Any

import pytest

from counterpoint import aio
from tests.support import FREE_THREADED, eventually_async, python
from tests.unit.pieces import Recorder, accepted, close_peers
from tests.unit.secure import Buffered, Ends, Plain
from tests.unit.sockets import run

HUGE = 256 << 20
SPARE = 64 << 20


@pytest.mark.parametrize("kind", ["inet", "unix"])
@pytest.mark.parametrize("measured", [False, True])
def test_an_end_is_told_once(loop: AbstractEventLoop, kind: str, measured: bool) -> None:
    told: list[str] = []

    class Ending(Recorder):
        def eof_received(self) -> bool:
            told.append("eof")
            return True

    def interrupt() -> None:
        loop.remove_reader(ours)
        raise KeyboardInterrupt

    inside: Any = loop
    inside.measure(measured)
    protocol, peer = run(loop, accepted(kind, Ending))
    run(loop, asyncio.sleep(0))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # Both are found by one poll, the interrupt first.
        loop.add_reader(ours, interrupt)
        theirs.send(b".")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(KeyboardInterrupt):
            run(loop, eventually_async(lambda: told))
    run(loop, eventually_async(lambda: told))
    run(loop, asyncio.sleep(0))
    assert told == ["eof"]
    protocol.transport.abort()
    run(loop, eventually_async(lambda: protocol.lost))
    close_peers()


class Limited:
    """So little memory that much cannot be copied."""

    def __enter__(self) -> None:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + SPARE, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self.before)


FEELS_NO_LIMIT = pytest.mark.skipif(
    FREE_THREADED,
    reason="the allocator of free-threaded builds has memory in reserve",
)


@FEELS_NO_LIMIT
def test_too_much_to_copy_is_an_error_like_others(loop: AbstractEventLoop) -> None:
    reported: list[Any] = []
    much = memoryview(bytearray(HUGE))

    async def main() -> None:
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        protocol, peer = await accepted("inet")

        def write() -> None:
            with Limited():
                protocol.transport.write(much)

        protocol.then = write
        peer.send(b".")
        await eventually_async(lambda: reported and protocol.lost)
        assert [type(error) for error in reported] == [MemoryError]
        await asyncio.sleep(0)

    run(loop, main())
    close_peers()
    run(loop, asyncio.sleep(0))


@FEELS_NO_LIMIT
def test_nothing_follows_a_part_of_what_was_written(loop: AbstractEventLoop) -> None:
    array = bytearray(HUGE)

    async def main() -> None:
        protocol, peer = await accepted("inet")
        with Limited():
            protocol.transport.write(array)
        assert protocol.transport.is_closing()
        protocol.transport.write(b"after")
        got = b"."
        while got:
            await eventually_async(lambda: _is_readable(peer))
            got = peer.recv(1 << 20)
            assert not got.endswith(b"after")

    run(loop, main())
    close_peers()


def _is_readable(peer: socket.socket) -> bool:
    try:
        peer.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("kind", [Plain, Buffered])
def test_what_came_over_tls_is_read_when_the_loop_goes_on(kind: type[Any]) -> None:
    ends = Ends()

    class Interrupted(kind):  # type: ignore[misc]
        def note(self) -> None:
            if len(self.chunks) == 1:
                raise KeyboardInterrupt

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.note()

        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.note()

    theirs: Any = Interrupted(10) if kind is Buffered else Interrupted()
    ours = Plain()
    ends.run(ends.connect(theirs, ours))
    ours.transport.write(b"0123456789" * 10)
    with pytest.raises(KeyboardInterrupt):
        ends.run(theirs.got(100))
    assert ends.run(theirs.got(100)) == b"0123456789" * 10
    ends.close()


def test_start_tls_while_writing_is_paused() -> None:
    ends = Ends()

    async def main() -> None:
        made: list[Plain] = []

        def accept() -> Plain:
            made.append(Plain())
            return made[-1]

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server = await ends.loop.create_server(accept, "127.0.0.1", 0)
        peer = socket.socket()
        peer.setblocking(False)
        await ends.loop.sock_connect(peer, server.sockets[0].getsockname())
        await eventually_async(lambda: made and made[0].transport)
        transport = made[0].transport
        while "pause" not in made[0].events:
            transport.write(bytes(100_000))
        upgrade = ends.loop.create_task(ends.loop.start_tls(transport, made[0], context))
        upgrade.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.sleep(0)
        while transport.get_write_buffer_size():
            try:
                peer.recv(1 << 20)
            except BlockingIOError:
                await asyncio.sleep(0)
        assert not transport.is_closing()
        upgrade.cancel()
        peer.close()
        server.close()
        await asyncio.wait([upgrade])
        transport.abort()
        await asyncio.sleep(0)

    ends.run(main())
    ends.close()


@pytest.mark.parametrize("bad", ["closed", "blocking"])
def test_a_wake_up_descriptor_that_cannot_be_used(bad: str) -> None:
    code = """
    import asyncio, signal, socket, sys
    from counterpoint import aio
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())
    theirs.close() if sys.argv[1] == "closed" else theirs.setblocking(True)
    print(aio.run(asyncio.sleep(0, "ran")))
    """
    done = python("import textwrap; exec(textwrap.dedent('''" + code + "'''))", bad)
    assert (done.stdout, done.returncode) == ("ran\n", 0), done.stderr


def test_a_loop_of_turns_leaves_no_context() -> None:
    class Turning(aio.EventLoop):
        def _run_once(self) -> None:
            super()._run_once()

    loop = Turning()
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_an_error_while_the_interpreter_ends() -> None:
    code = """
import asyncio, socket, struct
from counterpoint import aio
loop = aio.new_event_loop()
ours, theirs = socket.socketpair()
ours.setblocking(False)
class Protocol(asyncio.Protocol):
    pass
async def main():
    return (await loop.create_connection(Protocol, sock=ours))[0]
transport = loop.run_until_complete(main())
theirs.close()
class Late:
    def __init__(self): self.transport = transport
    def __del__(self):
        try:
            self.transport.write(b"x")
        except RuntimeError:
            pass
import sys
sys.late = Late()
del transport
"""
    done = python(code)
    assert "panic" not in done.stderr
    assert "PyO3" not in done.stderr
