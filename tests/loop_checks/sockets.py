"""Waiting for sockets: nothing is lost to a cancellation, and nothing of another file's is read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tests.loop_checks.arena import Arena

Receive = Callable[[], Coroutine[Any, Any, bytes]]
# Of one CPU: a loop that is told of the same thing for ever takes all of it.
IDLE_SHARE = 0.5
IDLE_SECONDS = 0.2


def _pair() -> tuple[socket.socket, socket.socket]:
    both = socket.socketpair()
    for each in both:
        each.setblocking(False)
    return both


async def _given_up_by_the_first(receive: tuple[Receive, Receive], send: Callable[[], None]) -> int:
    """Both wait, and both get data at once: who is first gives the other up; which that was."""
    first: list[int] = []
    tasks: list[asyncio.Task[None]] = []

    async def take(number: int) -> None:
        await receive[number]()
        first.append(number)
        for other in tasks:
            if other is not asyncio.current_task():
                other.cancel()

    for number in (0, 1):
        tasks.append(asyncio.ensure_future(take(number)))
        await asyncio.sleep(0)
    send()
    await asyncio.gather(*tasks, return_exceptions=True)
    return 1 - first[0]


def cancelled_receive(arena: Arena) -> None:
    """a sock_recv() that is cancelled as data comes leaves the data to the next"""
    ours, theirs = _pair()

    async def main() -> None:
        for number in range(10):

            def send(data: bytes = b"data %d" % number) -> None:
                ours.send(data)
                theirs.send(data)

            both = (
                lambda: arena.loop.sock_recv(ours, 100),
                lambda: arena.loop.sock_recv(theirs, 100),
            )
            left = await _given_up_by_the_first(both, send)
            got = await asyncio.wait_for(both[left](), 1)
            assert got == b"data %d" % number, got

    with ours, theirs:
        arena.run(main())


def cancelled_read(arena: Arena) -> None:
    """a StreamReader.read() that is cancelled as data comes leaves the data to the next"""

    async def main() -> None:
        peers, streams = [], []
        for _ in range(2):
            ours, theirs = _pair()
            streams.append(await asyncio.open_connection(sock=ours))
            peers.append(theirs)

        def send() -> None:
            for peer in peers:
                peer.send(b"data")

        both = (lambda: streams[0][0].read(100), lambda: streams[1][0].read(100))
        for _ in range(10):
            left = await _given_up_by_the_first(both, send)
            got = await asyncio.wait_for(both[left](), 1)
            assert got == b"data", got
        for peer, (_, writer) in zip(peers, streams, strict=True):
            writer.close()
            peer.close()

    arena.run(main())


def descriptor_of_another(arena: Arena) -> None:
    """who waits for a socket that is closed never gets what comes for the next of its number"""

    async def main() -> None:
        ours, theirs = _pair()
        number = ours.fileno()
        task = asyncio.ensure_future(arena.loop.sock_recv(ours, 100))
        await asyncio.sleep(0)
        ours.close()
        theirs.close()
        both = _pair()
        again = next((each for each in both if each.fileno() == number), None)
        if again is None:
            task.cancel()
            return  # a loop may keep a socket open for as long as it is waited for
        other = next(each for each in both if each is not again)
        with again, other:
            task_of_the_next = asyncio.ensure_future(arena.loop.sock_recv(again, 100))
            await asyncio.sleep(0)
            other.send(b"for the next")
            assert await asyncio.wait_for(task_of_the_next, 1) == b"for the next"
            task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            assert isinstance(done, (OSError, asyncio.CancelledError)), done

    arena.run(main())


def open_elsewhere(arena: Arena) -> None:
    """a socket that is closed here and open in another process costs nothing"""

    async def main() -> None:
        ours, theirs = _pair()
        with theirs, ours.dup():
            for _ in range(10):
                task = asyncio.ensure_future(arena.loop.sock_recv(ours, 100))
                await asyncio.sleep(0)
                theirs.send(b"data")
                assert await task == b"data"
            ours.close()
            theirs.send(b"for nobody")
            before = time.process_time()
            await asyncio.sleep(IDLE_SECONDS)
            used = time.process_time() - before
            assert used < IDLE_SHARE * IDLE_SECONDS, f"{used:.3f} s of {IDLE_SECONDS} s"

    arena.run(main())


ALL = {
    "socket_cancelled_receive": cancelled_receive,
    "socket_cancelled_read": cancelled_read,
    "socket_descriptor_of_another": descriptor_of_another,
    "socket_open_elsewhere": open_elsewhere,
}
