"""KeyboardInterrupt comes out of the loop, wherever it strikes, and the loop can be used again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.loop_checks.arena import Arena, Echo, Made, address

# A wait that ends by the interrupt, or else fails the check.
LONG = 10.0


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as in any program; the alarm does so too."""

    def raise_(*_: object) -> None:
        raise KeyboardInterrupt

    old = [(which, signal.signal(which, raise_)) for which in (signal.SIGINT, signal.SIGALRM)]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for which, handler in old:
            signal.signal(which, handler)


def _is_interrupted(run: Callable[[], object]) -> bool:
    try:
        run()
    except KeyboardInterrupt:
        return True
    return False


def _is_usable(arena: Arena) -> None:
    """Neither running nor closed, and able to run a task, a timer and a call of another thread."""
    assert asyncio._get_running_loop() is None
    assert not arena.loop.is_running()
    called = threading.Event()

    async def probe() -> str:
        thread = threading.Thread(target=arena.loop.call_soon_threadsafe, args=(called.set,))
        thread.start()
        thread.join()
        await asyncio.sleep(0.0005)
        return "usable"

    assert arena.loop.run_until_complete(probe()) == "usable"
    assert called.is_set()


def in_callbacks(arena: Arena) -> None:
    """KeyboardInterrupt in a callback ends run_forever(); what was ready then, runs in the next"""
    chance = random.Random(30)
    count = arena.effort.interrupts
    seen: list[int] = []
    raised = 0

    def callback(number: int, raises: bool) -> None:
        nonlocal raised
        seen.append(number)
        if raises:
            raised += 1
            raise KeyboardInterrupt

    for number in range(10 * count):
        arena.loop.call_soon(callback, number, chance.random() < 0.1)
    arena.loop.call_soon(arena.loop.stop)
    interrupted = 0
    while len(seen) < 10 * count:
        interrupted += _is_interrupted(arena.loop.run_forever)
        assert not arena.loop.is_running()
    assert raised == interrupted > 0
    assert seen == list(range(10 * count))
    arena.loop.run_until_complete(asyncio.sleep(0))
    _is_usable(arena)


def in_tasks(arena: Arena) -> None:
    """KeyboardInterrupt in tasks, timers and data_received() at random turns costs no other task"""
    chance = random.Random(31)
    done: list[int] = []

    async def task(number: int, turns: int, raises: bool) -> None:
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 2 else 0.0001)
        done.append(number)
        if raises:
            raise KeyboardInterrupt

    plans = [(chance.randrange(20), chance.random() < 0.2) for _ in range(arena.effort.interrupts)]
    tasks = [
        arena.loop.create_task(task(number, turns, raises))
        for number, (turns, raises) in enumerate(plans)
    ]
    interrupted = 0
    for each in tasks:
        while not each.done():
            interrupted += _is_interrupted(lambda: arena.run(asyncio.wait(tasks)))
    assert sorted(done) == list(range(len(plans)))
    assert interrupted == sum(raises for _, raises in plans) > 0
    for each in tasks:
        each.exception()
    _is_usable(arena)


class Interrupting(Echo):
    """Raises at the word."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if data == b"interrupt":
            raise KeyboardInterrupt


def in_protocols(arena: Arena) -> None:
    """KeyboardInterrupt in data_received() comes out of the loop; other connections live"""
    made = Made(Interrupting)
    server = arena.serve(made)
    other, peer = arena.peer(server), arena.peer(server)
    arena.until(lambda: made.are_connected(2))
    for number in range(arena.effort.interrupts // 10):
        if number:
            peer = arena.peer(server)
            arena.until(lambda wanted=number + 2: made.are_connected(wanted))
        peer.sendall(b"interrupt")
        assert _is_interrupted(lambda: arena.run(asyncio.sleep(LONG)))
        other.sendall(b"hello")
        assert arena.read(other, 5) == b"hello"
    _is_usable(arena)
    server.close()


class InterruptingAtFirst(Echo):
    """Raises as soon as it is connected, once."""

    raised = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not InterruptingAtFirst.raised:
            InterruptingAtFirst.raised = True
            raise KeyboardInterrupt


def in_connection_made(arena: Arena) -> None:
    """KeyboardInterrupt in connection_made() comes out of the loop; the connection goes on then"""
    InterruptingAtFirst.raised = False
    made = Made(InterruptingAtFirst)
    server = arena.serve(made)
    peer = arena.peer(server)
    assert _is_interrupted(lambda: arena.run(asyncio.sleep(LONG)))
    peer.sendall(b"hello")
    assert arena.read(peer, 5) == b"hello"

    InterruptingAtFirst.raised = False
    others = arena.serve(Made(Echo))
    connecting = arena.loop.create_task(
        arena.loop.create_connection(InterruptingAtFirst, *address(others))
    )
    assert _is_interrupted(lambda: arena.run(asyncio.sleep(LONG)))
    transport, _ = arena.run(connecting)
    transport.close()
    _is_usable(arena)
    server.close()
    others.close()


def while_idle(arena: Arena) -> None:
    """Ctrl-C wakes a loop that waits for nothing but it, at once"""
    with interruptible():
        for _ in range(arena.effort.interrupts // 10):
            blocked = arena.loop.create_future()
            # It counts real time: the loop is in its system call by then.
            arena.loop.call_soon(signal.setitimer, signal.ITIMER_REAL, 0.005)
            assert _is_interrupted(lambda: arena.loop.run_until_complete(blocked))  # noqa: B023
            blocked.cancel()
            _is_usable(arena)


def from_thread(arena: Arena) -> None:
    """so does a SIGINT that another thread of the process received"""
    with interruptible():
        waiting = threading.Event()

        def interrupt() -> None:
            waiting.wait()
            os.kill(os.getpid(), signal.SIGINT)

        async def wait() -> None:
            waiting.set()
            await asyncio.sleep(LONG)

        thread = threading.Thread(target=interrupt)
        thread.start()
        assert _is_interrupted(lambda: arena.run(wait()))
        thread.join()
        _is_usable(arena)


class Pinging(Echo):
    """A client that sends again whatever comes back."""

    def is_answered(self, arena: Arena) -> bool:
        """Whether the connection still works."""
        before = len(self.data)
        self.transport.write(b"ping")
        arena.until(lambda: len(self.data) > before)
        return not self.lost


def at_random(arena: Arena) -> None:
    """Ctrl-C at any instant of a busy loop comes out of it, and leaves it usable"""
    chance = random.Random(32)
    made = Made(Echo)
    server = arena.serve(made)

    async def connect() -> Pinging:
        return (await arena.loop.create_connection(Pinging, *address(server)))[1]

    async def wait(delay: float) -> None:
        # Not before it has begun: Python 3.14t loses a coroutine whose first step is interrupted.
        arena.loop.call_soon(signal.setitimer, signal.ITIMER_REAL, delay)
        await asyncio.sleep(LONG)

    turn = 0

    def spin(since: int) -> None:
        if since == turn:
            arena.loop.call_soon(spin, since)
            arena.loop.call_later(0.0001, int)

    client = arena.run(connect())
    waiting: list[asyncio.Task[None]] = []
    with interruptible():
        for turn in range(arena.effort.interrupts):
            client.transport.write(b"ping")
            arena.loop.call_soon(spin, turn)
            # Kept, as what Python calls when a task dies would swallow the interrupt.
            waiting.append(arena.loop.create_task(wait(chance.uniform(0.0001, 0.005))))
            assert _is_interrupted(lambda: arena.loop.run_until_complete(waiting[-1]))
            waiting[-1].cancel()
            _is_usable(arena)
    assert client.is_answered(arena)
    server.close()
    client.transport.abort()


def system_exit(arena: Arena) -> None:
    """SystemExit in a callback, a task and a protocol comes out of the loop likewise"""

    def leave() -> None:
        raise SystemExit(3)

    async def leave_later() -> None:
        await asyncio.sleep(0)
        leave()

    class Leaving(Echo):
        def data_received(self, data: bytes) -> None:
            leave()

    def code(run: Callable[[], object]) -> object:
        try:
            run()
        except SystemExit as error:
            return error.code
        return None

    arena.loop.call_soon(leave)
    assert code(arena.loop.run_forever) == 3
    assert code(lambda: arena.loop.run_until_complete(leave_later())) == 3
    server = arena.serve(Made(Leaving))
    with socket.create_connection(address(server)) as peer:
        peer.sendall(b"x")
        assert code(lambda: arena.run(asyncio.sleep(LONG))) == 3
    _is_usable(arena)
    server.close()


ALL = {
    "interrupt_in_callbacks": in_callbacks,
    "interrupt_in_tasks": in_tasks,
    "interrupt_in_protocols": in_protocols,
    "interrupt_in_connection_made": in_connection_made,
    "interrupt_while_idle": while_idle,
    "interrupt_from_thread": from_thread,
    "interrupt_at_random": at_random,
    "interrupt_system_exit": system_exit,
}
