"""The interpreter ends while threads run Python code that counterpoint called for them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, signal, threading, time
from counterpoint import aio, futures, queue
from counterpoint import threading as cp

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it was ignored
begun = threading.Event()

def busy(*_):
    begun.set()
    while True:
        [n for n in range(1000)]

class Slow:
    def __lt__(self, other):
        busy()
    def __del__(self):
        if threading.current_thread() is not threading.main_thread():
            busy()

def started(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()

def numbers():
    yield 1
    busy()

{what}
assert begun.wait(30)
print("ready", flush=True)
"""

# What has a thread run `busy` in a call of ours.
WAYS = {
    "task": "pool = futures.ThreadPoolExecutor(2); pool.submit(busy); pool.submit(busy)",
    "nested task": """
pool = futures.ThreadPoolExecutor(1)
pool.submit(lambda: pool.submit(busy).result())""",
    "loop": """
loop = aio.new_event_loop()
loop.call_soon(busy)
started(loop.run_forever)""",
    "done callback": """
future = futures.Future()
future.add_done_callback(busy)
started(future.set_result, 1)""",
    "map": "pool = futures.ThreadPoolExecutor(1); started(pool.map, int, numbers())",
    "order": """
line = queue.PriorityQueue()
line.put(Slow())
started(line.put, Slow())""",
    "key": "line = queue.PriorityQueue(key=busy); started(line.put, 1)",
    "drop": """
line = queue.Queue(1, overflow="drop_newest", on_drop=busy)
line.put(1)
started(line.put, 2)""",
    "barrier": "started(cp.Barrier(1, action=busy).wait)",
    "predicate": """
condition = cp.Condition()
def wait():
    with condition:
        condition.wait_for(busy)
started(wait)""",
    "item's end": """
def drop():
    queue.Queue().put(Slow())
started(drop)""",
    "result's end": """
def drop():
    futures.Future().set_result(Slow())
started(drop)""",
    "loop of turns": """
class Turns(aio.EventLoop):
    def _run_once(self):
        super()._run_once()
loop = Turns()
loop.call_soon(busy)
started(loop.run_forever)""",
    "cancel": """
loop = aio.new_event_loop()
started(lambda: loop.call_later(60, print, Slow()).cancel())""",
    "foreign lock": """
class Foreign:
    acquire = release = __enter__ = __exit__ = busy
started(cp.Condition(Foreign()).__enter__)""",
    "items": """
line = queue.Queue()
started(lambda: asyncio.run(line.async_put_many(numbers())))""",
    "wake-up": """
class Loop(asyncio.SelectorEventLoop):
    def call_soon_threadsafe(self, *arguments, **options):
        if threading.current_thread() is not threading.main_thread():
            busy()
        return super().call_soon_threadsafe(*arguments, **options)
line = queue.Queue()
async def main():
    getting = asyncio.ensure_future(line.async_get())
    await asyncio.sleep(0)
    started(line.put, 1)
    while not begun.is_set():
        await asyncio.sleep(0.01)
with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(main())""",
    "process pool": """
pool = futures.ProcessPoolExecutor(1)
future = pool.submit(time.sleep, 0.1)
future.add_done_callback(busy)""",
}


@pytest.mark.parametrize("way", WAYS)
def test_the_program_ends_as_it_would_without(way: str) -> None:
    # Where the exit waits for the thread, Ctrl-C ends that wait.
    program = PROGRAM.format(what=WAYS[way])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
        said = process.stderr.read()
    assert process.returncode in (0, 1, -signal.SIGINT), said
    assert "FATAL" not in said
    assert "panicked" not in said
