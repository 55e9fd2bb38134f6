"""Receiving while there is no memory: nothing is lost without a word."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import DEADLINE

pytest.importorskip("_testcapi", reason="an interpreter without its tests")

# Each of the first allocations after something was sent fails once, in a loop of its own. What is
# sent is too large for the interpreter's own small blocks. An exception out of the loop is no gap.
SWEEP = """if True:
    import asyncio, socket, sys, _testcapi
    from counterpoint.aio import new_event_loop

    FIRST, SECOND = b"a" * 600, b"b" * 600

    class Protocol(asyncio.Protocol):
        got, lost = b"", False
        def data_received(self, data):
            self.got += data
        def connection_lost(self, exc):
            self.lost = True

    async def connect(loop, ours):
        if sys.argv[1] == "protocol":
            transport, protocol = await loop.create_connection(Protocol, sock=ours)
            return transport, transport, lambda: (protocol.got, protocol.lost)
        reader, writer = await asyncio.open_connection(sock=ours)
        got = []
        async def read():
            while data := await reader.read(1_000):
                got.append(data)
        task = loop.create_task(read())
        return writer, writer.transport, lambda: (b"".join(got), task.done())

    async def main(failing):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        ours, theirs = socket.socketpair()
        held, transport, state = await connect(loop, ours)
        await asyncio.sleep(0)
        done = asyncio.Event()
        def send():
            theirs.send(FIRST)
            _testcapi.set_nomemory(failing, failing + 1)
        def end():
            _testcapi.remove_mem_hooks()
            done.set()
        loop.call_soon(send)
        loop.call_later(0.003, end)
        try:
            await done.wait()
        finally:
            _testcapi.remove_mem_hooks()
        try:
            theirs.send(SECOND)
        except OSError:
            pass
        await asyncio.sleep(0.003)
        got, lost = state()
        print("closed" if lost else "gap" if got == SECOND else "whole", failing)
        transport.abort()
        theirs.close()

    for failing in 1000, *range(20):
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(main(failing))
        except BaseException as error:
            print("raised", failing)
        finally:
            _testcapi.remove_mem_hooks()
"""


@pytest.mark.parametrize("kind", ["protocol", "stream"])
def test_a_connection_with_a_gap_is_closed(kind: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SWEEP, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    found = {line.split()[0] for line in done.stdout.splitlines()}
    assert "closed" in found, done.stderr
    assert "gap" not in found, done.stdout
