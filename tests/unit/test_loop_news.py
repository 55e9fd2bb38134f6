"""The kernel tells a TCP transport of news alone: nothing that came before is overlooked."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit import pieces
from tests.unit.sockets import FORKS, KINDS, Pair, children, connected, run

ROOM = 1000
EDGE = 1 << 31  # EPOLLET


class Recorder(pieces.Recorder):
    """Goes on when the peer has ended."""

    ended = 0

    def eof_received(self) -> bool:
        self.ended += 1
        return True


class Buffered(Recorder, asyncio.BufferedProtocol):
    """With room for so much at once."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(ROOM)
        self.first: Callable[[], object] = int

    def get_buffer(self, sizehint: int) -> bytearray:
        self.first()
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.buffer[:nbytes]))


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    yield from connected(request.param)


@pytest.fixture
def tcp() -> Iterator[Pair]:
    yield from connected("inet")


async def over(sock: socket.socket, kind: type[Recorder] = Recorder) -> Any:
    """The protocol of a transport over the socket."""
    _, made = await asyncio.get_running_loop().create_connection(kind, sock=sock)
    return made


def events_of(sock: socket.socket) -> int:
    """What epoll watches a descriptor for, as the kernel shows it."""
    for name in os.listdir("/proc/self/fd"):
        info = Path(f"/proc/self/fdinfo/{name}")
        text = info.read_text() if info.exists() else ""
        for line in text.splitlines():
            words = line.split()
            if words[:2] == ["tfd:", str(sock.fileno())]:
                return int(words[3], 16)
    raise AssertionError("it is not watched")


class TestMode:
    """Of which sockets, and when."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_of_tcp_alone(self, loop: AbstractEventLoop, kind: str) -> None:
        async def main() -> None:
            for ours, _theirs in connected(kind):
                made = await over(ours)
                await asyncio.sleep(0)
                assert bool(events_of(ours) & EDGE) is (kind == "inet")
                made.transport.abort()

        run(loop, main())

    def test_while_it_sends_it_is_told_each_time(self, loop: AbstractEventLoop, tcp: Pair) -> None:
        ours, theirs = tcp

        async def main() -> None:
            made = await over(ours)
            await asyncio.sleep(0)
            made.transport.write(bytes(16 << 20))
            assert not events_of(ours) & EDGE
            theirs.sendall(b"something")
            await eventually_async(lambda: made.data == b"something")
            while made.transport.get_write_buffer_size():
                await loop.sock_recv(theirs, 1 << 20)
            assert events_of(ours) & EDGE
            made.transport.abort()

        run(loop, main())

    def test_who_leaves_something_is_told_each_time(
        self, loop: AbstractEventLoop, tcp: Pair
    ) -> None:
        ours, theirs = tcp

        async def main() -> None:
            made = await over(ours, Buffered)
            theirs.sendall(bytes(ROOM - 1))
            await eventually_async(lambda: len(made.data) == ROOM - 1)
            assert events_of(ours) & EDGE
            theirs.sendall(bytes(ROOM))
            await eventually_async(lambda: len(made.data) == 2 * ROOM - 1)
            assert not events_of(ours) & EDGE
            made.transport.abort()

        run(loop, main())


class TestMoreThanExpected:
    """After messages of one size there comes one that is larger."""

    SIZE = 5000

    async def expecting(self, pair: Pair) -> Any:
        made = await over(pair[0])
        for times in (1, 2, 3):
            pair[1].sendall(bytes(self.SIZE))
            await eventually_async(lambda wanted=times * self.SIZE: len(made.data) == wanted)
        made.data = b""
        return made

    @pytest.mark.parametrize("size", [1, SIZE - 1, SIZE + 1, SIZE + 2, 3 * SIZE, 100_000])
    def test_all_of_it_is_received(self, loop: AbstractEventLoop, pair: Pair, size: int) -> None:
        ours, theirs = pair

        async def main() -> None:
            made = await self.expecting(pair)
            data = os.urandom(size)
            theirs.sendall(data)
            await eventually_async(lambda: made.data == data)
            assert bool(events_of(ours) & EDGE) is (ours.family == socket.AF_INET)
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            await eventually_async(lambda: made.ended)
            assert made.data == data * 2
            made.transport.abort()

        run(loop, main())

    def test_it_is_paused_meanwhile(self, loop: AbstractEventLoop, pair: Pair) -> None:
        async def main() -> None:
            made = await self.expecting(pair)
            made.then = made.transport.pause_reading
            data = os.urandom(3 * self.SIZE)
            pair[1].sendall(data)
            await eventually_async(lambda: made.data)
            before = len(made.data)
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(made.data) == before
            made.then = int
            made.transport.resume_reading()
            await eventually_async(lambda: made.data == data)
            made.transport.abort()

        run(loop, main())

    def test_it_is_closed_meanwhile(self, loop: AbstractEventLoop, pair: Pair) -> None:
        async def main() -> None:
            made = await self.expecting(pair)
            made.then = made.transport.close
            pair[1].sendall(bytes(3 * self.SIZE))
            await eventually_async(lambda: made.lost)
            assert made.lost == [None]

        run(loop, main())

    @pytest.mark.parametrize("again", [False, True])
    def test_the_end_is_told_once(self, loop: AbstractEventLoop, tcp: Pair, again: bool) -> None:
        """It is told of by the kernel while the rest is to be read in any case."""

        async def main() -> None:
            made = await self.expecting(tcp)

            def end() -> None:
                tcp[1].shutdown(socket.SHUT_WR)
                if again:
                    made.transport.pause_reading()
                    made.transport.resume_reading()
                asked = loop.time() + 0.001
                while loop.time() < asked:
                    pass  # so long that the kernel is asked before that

            made.then = end
            tcp[1].sendall(bytes(self.SIZE + 1))
            await eventually_async(lambda: made.ended)
            for _ in range(3):
                await asyncio.sleep(0)
            assert made.ended == 1
            made.transport.abort()

        run(loop, main())

    def test_a_reset_behind_it(self, loop: AbstractEventLoop, tcp: Pair) -> None:
        async def main() -> None:
            made = await self.expecting(tcp)
            reset = struct.pack("ii", 1, 0)
            tcp[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            made.then = tcp[1].close
            tcp[1].sendall(bytes(self.SIZE + 1))
            await eventually_async(lambda: made.lost)
            assert isinstance(made.lost[0], ConnectionResetError)
            assert len(made.data) == self.SIZE + 1

        run(loop, main())

    def test_streams(self, loop: AbstractEventLoop, pair: Pair) -> None:
        async def main() -> None:
            reader, writer = await asyncio.open_connection(sock=pair[0])
            for size in [self.SIZE] * 4 + [3 * self.SIZE] * 3 + [self.SIZE + 1, 1]:
                waiting = asyncio.create_task(reader.read(1 << 20))
                await asyncio.sleep(0)
                data = os.urandom(size)
                pair[1].sendall(data)
                got = await waiting
                while len(got) < size:
                    got += await reader.read(1 << 20)
                assert got == data
            writer.transport.abort()

        run(loop, main())


class TestNothingIsOverlooked:
    @pytest.mark.parametrize("size", [ROOM - 1, ROOM, ROOM + 1, 3 * ROOM, 3 * ROOM + 1])
    def test_more_than_there_is_room_for(
        self, loop: AbstractEventLoop, pair: Pair, size: int
    ) -> None:
        ours, theirs = pair

        async def main() -> None:
            made = await over(ours, Buffered)
            for times in (1, 2, 3):
                theirs.sendall(bytes(size))
                await eventually_async(lambda wanted=times * size: len(made.data) == wanted)
            theirs.shutdown(socket.SHUT_WR)
            await eventually_async(lambda: made.ended)
            made.transport.abort()

        run(loop, main())

    @pytest.mark.parametrize("kind", [Recorder, Buffered])
    def test_the_end_right_behind_the_data(
        self, loop: AbstractEventLoop, pair: Pair, kind: type[Recorder]
    ) -> None:
        ours, theirs = pair

        async def main() -> None:
            made = await over(ours, kind)
            await asyncio.sleep(0)
            theirs.sendall(b"the last")
            theirs.shutdown(socket.SHUT_WR)
            await eventually_async(lambda: made.ended)
            assert made.data == b"the last"
            made.transport.abort()

        run(loop, main())

    def test_the_end_comes_while_the_data_is_read(self, loop: AbstractEventLoop, tcp: Pair) -> None:
        ours, theirs = tcp

        async def main() -> None:
            made = await over(ours)
            made.then = lambda: theirs.shutdown(socket.SHUT_WR)
            theirs.sendall(b"the last")
            await eventually_async(lambda: made.ended)
            assert made.data == b"the last"
            made.transport.abort()

        run(loop, main())

    def test_a_reset_right_behind_the_data(self, loop: AbstractEventLoop, tcp: Pair) -> None:
        ours, theirs = tcp

        async def main() -> None:
            made = await over(ours)
            made.then = made.transport.pause_reading
            theirs.sendall(b"data")
            await eventually_async(lambda: made.data)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            made.transport.resume_reading()
            await eventually_async(lambda: made.lost)
            assert isinstance(made.lost[0], ConnectionResetError)

        run(loop, main())

    @pytest.mark.parametrize("kind", [Recorder, Buffered])
    def test_data_and_end_come_while_it_is_paused(
        self, loop: AbstractEventLoop, pair: Pair, kind: type[Recorder]
    ) -> None:
        ours, theirs = pair

        async def main() -> None:
            made = await over(ours, kind)
            made.then = made.transport.pause_reading
            theirs.sendall(b"one ")
            await eventually_async(lambda: made.data)
            theirs.sendall(b"two ")
            await asyncio.sleep(0)
            assert made.data == b"one "
            made.then = int
            made.transport.resume_reading()
            await eventually_async(lambda: made.data == b"one two ")
            made.transport.pause_reading()
            theirs.sendall(b"three")
            theirs.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0)
            made.transport.resume_reading()
            await eventually_async(lambda: made.ended)
            assert made.data == b"one two three"
            made.transport.abort()

        run(loop, main())

    def test_it_is_paused_and_resumed_when_it_was_told_already(
        self, loop: AbstractEventLoop, tcp: Pair
    ) -> None:
        ours, theirs = tcp
        other, its_peer = socket.socketpair()

        async def main() -> None:
            made = await over(ours)

            # Both become readable before the loop looks; whichever is first, the second was told.
            def pause() -> None:
                other.recv(10)
                made.transport.pause_reading()
                loop.call_soon(made.transport.resume_reading)

            loop.add_reader(other, pause)
            for wanted in range(1, 20):
                its_peer.send(b".")
                theirs.sendall(b".")
                await eventually_async(lambda wanted=wanted: len(made.data) == wanted)
            loop.remove_reader(other)
            made.transport.abort()

        run(loop, main())
        other.close()
        its_peer.close()

    def test_urgent_data_is_in_between(self, loop: AbstractEventLoop, tcp: Pair) -> None:
        ours, theirs = tcp

        async def main() -> None:
            made = await over(ours)
            for _ in range(3):
                made.data = b""
                theirs.sendall(b"before")
                theirs.send(b"!", socket.MSG_OOB)
                theirs.sendall(b"after")
                await eventually_async(lambda: made.data == b"beforeafter")
            made.transport.abort()

        run(loop, main())

    @pytest.mark.parametrize("times", [1, 3])
    def test_an_interrupt_before_anything_is_read(
        self, loop: AbstractEventLoop, tcp: Pair, times: int
    ) -> None:
        ours, theirs = tcp
        left = times

        def interrupt() -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                raise KeyboardInterrupt

        async def main() -> Buffered:
            made: Buffered = await over(ours, Buffered)
            made.first = interrupt
            return made

        async def data() -> None:
            await eventually_async(lambda: made.data == b"hello")

        made = run(loop, main())
        theirs.sendall(b"hello")
        for _ in range(times):
            with pytest.raises(KeyboardInterrupt):
                run(loop, data())
        run(loop, data())
        made.transport.abort()

    def test_the_protocol_is_another_one_meanwhile(
        self, loop: AbstractEventLoop, tcp: Pair
    ) -> None:
        ours, theirs = tcp

        async def main() -> None:
            made = await over(ours, Buffered)
            following = Recorder()
            made.then = lambda: made.transport.set_protocol(following)
            theirs.sendall(bytes(ROOM) + b"for the next")
            await eventually_async(lambda: following.data == b"for the next")
            made.transport.abort()

        run(loop, main())

    @pytest.mark.filterwarnings(FORKS)
    def test_a_child_that_goes_on_with_the_loop(self, loop: AbstractEventLoop, tcp: Pair) -> None:
        ours, theirs = tcp

        async def main() -> Recorder:
            made: Recorder = await over(ours)
            theirs.sendall(b"one ")
            await eventually_async(lambda: made.data)
            return made

        async def more() -> None:
            await eventually_async(lambda: made.data == b"one two")

        made = run(loop, main())
        theirs.sendall(b"two")
        child = os.fork()
        if child == 0:
            try:
                run(loop, more())
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        made.transport.abort()

    @pytest.mark.filterwarnings(FORKS)
    def test_a_child_that_goes_on_in_the_same_run_takes_nothing(
        self, loop: AbstractEventLoop, tcp: Pair
    ) -> None:
        ours, theirs = tcp

        async def main() -> None:
            made = await over(ours)
            reader, writer = os.pipe()
            child = os.fork()
            if child:
                forked.append(child)
            else:
                try:
                    made.transport.abort()
                    loop.call_later(0, os.write, writer, b".")
                    await loop.create_future()
                finally:
                    os._exit(1)
            os.read(reader, 1)
            for count in range(1, 51):
                theirs.send(b".")
                await eventually_async(lambda wanted=count: len(made.data) == wanted)
            made.transport.abort()
            os.close(reader)
            os.close(writer)

        with children() as forked:
            run(loop, main())
