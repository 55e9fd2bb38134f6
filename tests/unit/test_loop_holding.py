"""What callbacks write piece by piece leaves at their end, in order and whole, however they end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import random
import signal
import socket
import struct
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.secure import contexts
from tests.unit.sockets import KINDS, Pair, connected, run

LEARNT = 4
MOST = 16 * 1024
PEERS: list[socket.socket] = []
FORKS = "ignore:.*multi-threaded.*fork:DeprecationWarning"


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []
        self.lost: list[BaseException | None] = []
        self.then: Callable[[], object] = int

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.then()

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)


class Writer:
    """A transport, of which it is known that it is written to in pieces, and its peer."""

    def __init__(self, transport: Any, peer: socket.socket) -> None:
        self.transport, self.peer = transport, peer
        self.loop = asyncio.get_running_loop()

    async def call(self, function: Callable[[], object]) -> None:
        """In a callback of its own."""
        done = self.loop.create_future()

        def call() -> None:
            try:
                function()
            finally:
                done.set_result(None)

        self.loop.call_soon(call)
        await done

    def arrived(self) -> bytes:
        """What is there for the peer now."""
        data = b""
        try:
            while more := self.peer.recv(1 << 20):
                data += more
        except BlockingIOError:
            pass
        return data

    async def learn(self) -> None:
        for _ in range(LEARNT):
            await self.call(lambda: [self.transport.write(b"piece") for _ in range(2)])
            await eventually_async(lambda: self.arrived()[-5:] == b"piece")


@pytest.fixture(autouse=True)
def closed_peers() -> Iterator[None]:
    yield
    while PEERS:
        PEERS.pop().close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def accepted(
    kind: str, factory: Callable[[], Recorder] = Recorder, **more: Any
) -> tuple[Recorder, socket.socket]:
    """The protocol of a connection that a server has accepted, and its peer."""
    loop = asyncio.get_running_loop()
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(factory())
        return made[-1]

    if kind == "inet":
        server = await loop.create_server(make, "127.0.0.1", 0, **more)
        peer = socket.socket()
    else:
        server = await loop.create_unix_server(make, f"\0{__name__}-{os.getpid()}", **more)
        peer = socket.socket(socket.AF_UNIX)
    PEERS.append(peer)
    peer.setblocking(False)
    await loop.sock_connect(peer, server.sockets[0].getsockname())
    await eventually_async(lambda: made and hasattr(made[0], "transport"))
    server.close()
    return made[0], peer


async def writer(
    kind: str, factory: Callable[[], Recorder] = Recorder
) -> tuple[Writer, Recorder]:
    """Over a connection that was accepted."""
    protocol, peer = await accepted(kind, factory)
    made = Writer(protocol.transport, peer)
    await made.learn()
    return made, protocol


def test_it_is_held_back_until_the_callback_has_ended(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)

        def write() -> None:
            for piece in (b"a", bytearray(b"b"), memoryview(b"c")):
                made.transport.write(piece)
                assert made.arrived() == b""
                assert made.transport.get_write_buffer_size() == 0
            made.transport.writelines([b"d", b"e"])
            assert made.arrived() == b""

        await made.call(write)
        assert made.arrived() == b"abcde"
        assert protocol.told == []
        made.transport.abort()

    run(loop, main())


def test_who_writes_one_piece_each_time_has_it_sent_at_once(
    loop: AbstractEventLoop, kind: str
) -> None:
    async def main() -> None:
        made, _ = await writer(kind)

        def write() -> None:
            made.transport.write(b"one")
            assert made.arrived() == b"one"

        await made.call(lambda: made.transport.write(b"the last that is held back"))
        assert made.arrived()
        for _ in range(10):
            await made.call(write)
        made.transport.abort()

    run(loop, main())


def test_what_was_written_is_sent(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)
        data = bytearray(b"as it was")

        def write() -> None:
            made.transport.write(data)
            data[:] = b"otherwise"

        await made.call(write)
        assert made.arrived() == b"as it was"
        made.transport.abort()

    run(loop, main())


def test_much_is_not_held_back(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)

        def write() -> None:
            made.transport.write(bytes(MOST + 1))
            assert len(made.arrived()) > 0

        def write_more() -> None:
            made.transport.write(b"0" * MOST)
            assert made.arrived() == b""
            made.transport.write(b"1")
            assert made.arrived() == b"0" * MOST + b"1"

        await made.call(write)
        await eventually_async(lambda: made.transport.get_write_buffer_size() == 0)
        made.arrived()
        await made.learn()
        await made.call(write_more)
        made.transport.abort()

    run(loop, main())


ENDS: dict[str, Callable[[Any], object]] = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write_eof": lambda transport: transport.write_eof(),
    "close, write": lambda transport: (transport.close(), transport.write(b"too late")),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_connection_is_ended_in_the_same_callback(
    loop: AbstractEventLoop, kind: str, end: str
) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)

        def write() -> None:
            made.transport.write(b"the ")
            made.transport.write(b"last")
            ENDS[end](made.transport)
            assert made.arrived() == b"the last"

        await made.call(write)
        if end == "write_eof":
            made.transport.abort()
        await eventually_async(lambda: protocol.lost)
        await asyncio.sleep(0)
        assert protocol.lost == [None]
        assert made.arrived() == b""

    run(loop, main())


def test_sendfile_follows_it(loop: AbstractEventLoop, kind: str, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"contents")

    async def main() -> None:
        made, _ = await writer(kind)
        tasks = []

        async def send() -> None:
            with open(path, "rb") as file:
                made.transport.write(b"head ")
                await loop.sendfile(made.transport, file)

        await made.call(lambda: tasks.append(loop.create_task(send())))
        await tasks[0]
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return got == b"head contents"

        await eventually_async(grown)
        made.transport.abort()

    run(loop, main())


def test_a_callback_that_raises(loop: AbstractEventLoop, kind: str) -> None:
    handled: list[Any] = []
    loop.set_exception_handler(lambda _, context: handled.append(context["exception"]))

    async def main() -> None:
        made, _ = await writer(kind)

        def write() -> None:
            made.transport.write(b"before")
            raise ValueError

        loop.call_soon(write)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert made.arrived() == b"before"
        made.transport.abort()

    run(loop, main())
    assert [type(error) for error in handled] == [ValueError]


def test_a_callback_that_ends_the_run(loop: AbstractEventLoop, kind: str) -> None:
    made, _ = run(loop, writer(kind))

    def write() -> None:
        made.transport.write(b"before")
        raise KeyboardInterrupt

    loop.call_soon(write)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(1))
    assert made.arrived() == b"before"

    async def more() -> None:
        await made.call(lambda: made.transport.write(b"after"))
        assert made.arrived() == b"after"
        made.transport.abort()

    run(loop, more())


def test_outside_of_a_callback_it_is_sent_at_once(loop: AbstractEventLoop, kind: str) -> None:
    made, _ = run(loop, writer(kind))
    for _ in range(LEARNT):
        for _ in range(2):
            made.transport.write(b"piece")
            assert made.arrived() == b"piece"
    made.transport.abort()
    loop.run_until_complete(asyncio.sleep(0))


def test_another_thread_has_it_sent_at_once(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)

        def write() -> None:
            thread = threading.Thread(target=made.transport.write, args=(b"from there",))
            thread.start()
            thread.join()
            assert made.arrived() == b"from there"

        await made.call(write)
        made.transport.abort()

    run(loop, main())


def test_the_kernel_does_not_take_it(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        made.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
        )
        made.transport.set_write_buffer_limits(high=0)
        written = b""

        def write() -> None:
            nonlocal written
            for number in range(10):
                piece = b"%d" % number * 1_000
                made.transport.write(piece)
                written += piece

        while not protocol.told:
            await made.call(write)
        assert protocol.told == ["pause"]
        assert made.transport.get_write_buffer_size() > 0
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return got == written

        await eventually_async(grown)
        assert protocol.told == ["pause", "resume"]
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("end", ["", "close", "write_eof", "abort"])
def test_a_peer_that_is_gone(loop: AbstractEventLoop, end: str) -> None:
    async def main() -> None:
        made, protocol = await writer("inet")
        made.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def write() -> None:
            made.transport.write(b"something")
            made.peer.close()
            if end:
                getattr(made.transport, end)()

        await made.call(write)
        await eventually_async(lambda: protocol.lost)
        await asyncio.sleep(0)
        assert len(protocol.lost) == 1

    run(loop, main())


IN_CHILD: dict[str, tuple[Callable[[Writer], object], bytes]] = {
    "nothing": (lambda made: None, b""),
    "close": (lambda made: made.transport.close(), b""),
    "abort": (lambda made: made.transport.abort(), b""),
    "write": (lambda made: made.transport.write(b"of the child"), b"of the child"),
    "much": (lambda made: made.transport.write(bytes(MOST + 1)), bytes(MOST + 1)),
}


@pytest.mark.filterwarnings(FORKS)
@pytest.mark.parametrize("what", IN_CHILD)
def test_a_child_leaves_it_to_its_parent(loop: AbstractEventLoop, kind: str, what: str) -> None:
    child = 0
    act, of_child = IN_CHILD[what]

    async def main() -> None:
        nonlocal child
        made, _ = await writer(kind)
        reader, told = os.pipe()

        def write() -> None:
            nonlocal child
            made.transport.write(b"once")
            child = os.fork()
            if child == 0:
                act(made)
                loop.call_later(0, os.write, told, b".")

        await made.call(write)
        if child == 0:
            try:
                await loop.create_future()
            finally:
                os._exit(1)
        os.read(reader, 1)
        assert sorted(made.arrived()) == sorted(b"once" + of_child)
        made.transport.abort()
        os.close(reader)
        os.close(told)

    try:
        run(loop, main())
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


@pytest.mark.parametrize("given", [False, True])
def test_much_is_sent_in_the_context_of_who_writes(
    loop: AbstractEventLoop, kind: str, given: bool
) -> None:
    class Filling(Recorder):
        def pause_writing(self) -> None:
            self.told.append(f"pause in {number.get()}")

        def data_received(self, data: bytes) -> None:
            number.set(1)
            while not self.told:
                for _ in range(3):
                    self.transport.write(bytes(9_000))

    async def main() -> None:
        if given:
            number.set(2)
        made, protocol = await writer(kind, Filling)
        made.transport.set_write_buffer_limits(high=0)
        for turn in range(2):
            made.peer.send(b".")
            await eventually_async(lambda: protocol.told)
            assert protocol.told == ["pause in 1"]
            while protocol.told[-1] != "resume":
                made.arrived()
                await asyncio.sleep(0)
            protocol.told.clear()
        made.transport.abort()

    run(loop, main())


def test_the_programs_own_use_of_the_socket_comes_after_it(
    loop: AbstractEventLoop, kind: str
) -> None:
    async def main() -> None:
        made, _ = await writer(kind)
        sock = made.transport.get_extra_info("socket")

        def shut() -> None:
            made.transport.write(b"the ")
            made.transport.write(b"last")
            sock.shutdown(socket.SHUT_WR)
            assert made.arrived() == b"the last"

        def use() -> None:
            made.transport.write(b"first")
            os.write(sock.fileno(), b" second")
            assert made.arrived() == b"first second"

        await made.call(use)
        for _ in range(2 * LEARNT):
            await made.call(use)
        await made.call(shut)
        made.transport.abort()

    run(loop, main())


def test_of_a_socket_of_the_programs_nothing_is_held_back(
    loop: AbstractEventLoop, kind: str
) -> None:
    async def main(pair: Pair) -> None:
        transport, _ = await loop.create_connection(Recorder, sock=pair[0])
        made = Writer(transport, pair[1])
        await made.learn()

        def write() -> None:
            transport.write(b"at once")
            assert made.arrived() == b"at once"

        await made.call(write)
        transport.abort()

    for pair in connected(kind):
        run(loop, main(pair))


@pytest.mark.parametrize("end", [None, "abort", "close"])
def test_more_pieces_than_the_kernel_takes_at_once(
    loop: AbstractEventLoop, kind: str, end: str | None
) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        made.transport.set_write_buffer_limits(high=0)

        def write() -> None:
            for _ in range(3000):
                made.transport.write(b".")
            if end:
                getattr(made.transport, end)()

        await made.call(write)
        assert made.arrived() == bytes(b"." * 3000)
        assert protocol.told == []
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_the_kernel_is_full_when_the_connection_is_ended(
    loop: AbstractEventLoop, kind: str, end: str
) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        made.transport.set_write_buffer_limits(high=0)
        filled = 0

        def write() -> None:
            nonlocal filled
            with contextlib.suppress(BlockingIOError):
                while True:
                    filled += os.write(fd, bytes(1_000))
            made.transport.write(b"the ")
            made.transport.write(b"last")
            getattr(made.transport, end)()

        fd = made.transport._sock_fd
        await made.call(write)
        assert protocol.told == ["pause"]
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return got == bytes(filled) + b"the last"

        await eventually_async(grown)
        await eventually_async(lambda: protocol.told == ["pause", "resume"])
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("what", ["abort", "close", "write"])
def test_nobody_is_told_of_a_connection_that_ended_while_it_resumed(
    loop: AbstractEventLoop, kind: str, what: str
) -> None:
    class Ending(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            if what == "write":
                peers[0].close()
            self.transport.write(b"a")
            self.transport.write(b"b")
            if what != "write":
                getattr(self.transport, what)()

    peers: list[socket.socket] = []

    async def main() -> None:
        made, protocol = await writer(kind, Ending)
        peers.append(made.peer)
        made.transport.set_write_buffer_limits(high=0)
        fd = made.transport._sock_fd
        while not protocol.told:
            made.transport.write(bytes(10_000))
        while "resume" not in protocol.told:
            made.arrived()
            await asyncio.sleep(0)
        if what == "write":
            made.transport.abort()
        await eventually_async(lambda: protocol.lost)
        inside: Any = loop
        assert fd not in inside._selector.get_map()

    run(loop, main())


def test_two_threads_write(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        counts = {"here": 0, "there": 0}
        ended = threading.Event()

        def write_there() -> None:
            while not ended.is_set():
                made.transport.write(b"t")
                counts["there"] += 1
                time.sleep(0.000_05)

        def write() -> None:
            for _ in range(2):
                made.transport.write(b"h")
            counts["here"] += 2

        thread = threading.Thread(target=write_there)
        thread.start()
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return len(got) == sum(counts.values())

        for _ in range(300):
            for _ in range(20):
                loop.call_soon(write)
            await asyncio.sleep(0)
            grown()
        ended.set()
        thread.join()
        await eventually_async(grown)
        assert (got.count(b"h"), got.count(b"t")) == (counts["here"], counts["there"])
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", ["plain", "TLS", "measured", "watched", "debug"])
def test_whatever_is_written_arrives_whole_and_in_order(
    loop: AbstractEventLoop, how: str, seed: int
) -> None:
    dice = random.Random(seed)
    inside: Any = loop
    if how == "measured":
        inside.measure()
    elif how == "watched":
        inside.watch(30, log=False)
    loop.set_debug(how == "debug")

    async def main() -> None:
        server, client = contexts() if how == "TLS" else (None, None)
        made: list[Recorder] = []

        def make() -> Recorder:
            made.append(Recorder())
            return made[-1]

        serving = await loop.create_server(make, "127.0.0.1", 0, ssl=server)
        name = "localhost" if client else None
        where = serving.sockets[0].getsockname()
        theirs, protocol = await loop.create_connection(
            Recorder, *where, ssl=client, server_hostname=name
        )
        await eventually_async(lambda: made and hasattr(made[0], "transport"))
        serving.close()
        ours = made[0].transport
        written = b""

        def write() -> None:
            nonlocal written
            for _ in range(dice.choice([1, 2, 2, 2, 3])):
                data = dice.randbytes(dice.choice([1, 10, 500, 5_000, 20_000]))
                written += data
                dice.choice([ours.write, lambda data: ours.writelines([data[:3], data[3:]])])(data)

        for _ in range(200):
            loop.call_soon(write)
            await asyncio.sleep(0)
        loop.call_soon(lambda: (write(), ours.close()))
        await eventually_async(lambda: protocol.lost)
        assert protocol.data == written
        theirs.abort()

    run(loop, main())
