"""A fork: the child has no running loop and is told so, and the parent's loop goes on."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import traceback
import warnings
from collections.abc import Callable

from tests.loop_checks.arena import Arena, Echo, Made


def _forked(child: Callable[[], None]) -> int:
    """Runs `child` in a forked process and returns its pid; there is no way back from it."""
    with warnings.catch_warnings():
        # Others' threads are no matter: the child ends without them.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    try:
        child()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _ended_well(arena: Arena, pid: int) -> None:
    """The child has ended without an error; the loop runs meanwhile."""

    async def wait() -> int:
        return (await arena.loop.run_in_executor(None, os.waitpid, pid, 0))[1]

    assert arena.run(wait()) == 0, "the child failed: its traceback is on stderr"


def _goes_on(arena: Arena) -> None:
    """Timers, connections and calls from threads of the parent's loop work."""
    made = Made(Echo)
    server = arena.serve(made)
    peer = arena.peer(server)
    peer.sendall(b"hello")
    assert arena.read(peer, 5) == b"hello"
    called = arena.loop.create_future()
    threading.Thread(target=arena.loop.call_soon_threadsafe, args=(called.set_result, None)).start()

    async def wait() -> None:
        await called
        await asyncio.sleep(0.001)

    arena.run(wait())
    server.close()


def no_running_loop(arena: Arena) -> None:
    """a child that was forked within a running loop has no running loop, and can run one"""

    def child() -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise AssertionError("the child has a running loop")
        own = arena.make()
        assert own.run_until_complete(asyncio.sleep(0.001, "done")) == "done"
        own.close()

    async def main() -> int:
        return _forked(child)

    pid = arena.run(main())
    _ended_well(arena, pid)
    _goes_on(arena)


def inherited_while_running(arena: Arena) -> None:
    """a child that runs the running loop that it inherited gets RuntimeError"""

    def child() -> None:
        never = asyncio.sleep(0)
        try:
            arena.loop.run_until_complete(never)
        except RuntimeError:
            never.close()
        else:
            raise AssertionError("the child ran the parent's loop")

    async def main() -> int:
        return _forked(child)

    pid = arena.run(main())
    _ended_well(arena, pid)
    _goes_on(arena)


def inherited_idle(arena: Arena) -> None:
    """a child may run an inherited loop, or gets RuntimeError: the parent's loses no event"""
    ours, theirs = socket.socketpair()
    seen: list[bytes] = []
    arena.loop.add_reader(ours, lambda: seen.append(ours.recv(100)))
    arena.run(asyncio.sleep(0))

    def child() -> None:
        work = asyncio.sleep(0.001)
        try:
            arena.loop.run_until_complete(work)
        except RuntimeError:
            work.close()
        try:
            arena.loop.remove_reader(ours)
            arena.loop.close()
        except RuntimeError:
            pass

    _ended_well(arena, _forked(child))
    theirs.sendall(b"for the parent")
    arena.until(lambda: seen)
    arena.loop.remove_reader(ours)
    for each in (ours, theirs):
        each.close()
    _goes_on(arena)


def connections_survive(arena: Arena) -> None:
    """connections of the parent live through a child that was forked and ended"""
    made = Made(Echo)
    server = arena.serve(made)
    peer = arena.peer(server)
    arena.until(made.are_connected)

    async def main() -> int:
        return _forked(lambda: None)

    pid = arena.run(main())
    _ended_well(arena, pid)
    peer.sendall(b"hello")
    assert arena.read(peer, 5) == b"hello"
    server.close()


ALL = {
    "fork_no_running_loop": no_running_loop,
    "fork_inherited_while_running": inherited_while_running,
    "fork_inherited_idle": inherited_idle,
    "fork_connections_survive": connections_survive,
}
