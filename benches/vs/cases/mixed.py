"""Queues between an event loop and a thread.

``mixed-two-threads`` and ``mixed-one-loop`` are the tests that culsans, aiologic and janus compare
themselves by, written anew: an item travels from the loop to a thread and back; an item travels
through the queue from one callback of the loop to a task. There they run for six seconds and
count; here a number of operations is timed, as everywhere in this package. The standard library
has no such queue: its column is what one does without, an ``asyncio.Queue`` fed by
``call_soon_threadsafe`` and a ``queue.Queue`` for the other direction.
"""

from __future__ import annotations

import asyncio
from itertools import repeat
from threading import Thread

from benches.vs.case import PATIENCE_SECONDS, Case, Clock, Sample, in_event_loop, quiet_gc
from benches.vs.libraries import Factory
from benches.vs.subjects import MixedSubject


async def there_and_back(out: MixedSubject, back: MixedSubject, n: int) -> Sample:
    def answer() -> None:
        get, put = out.thread_get, back.thread_put
        for _ in repeat(None, n):
            put(get())

    thread = Thread(target=answer, daemon=True)
    thread.start()
    put, get = out.loop_put, back.loop_get
    clock = Clock()
    for _ in repeat(None, n):
        put(42)
        await get()
    sample = clock.sample()
    await asyncio.to_thread(thread.join)
    return sample


async def within_the_loop(queue: MixedSubject, n: int) -> Sample:
    call_soon = asyncio.get_running_loop().call_soon
    put, get = queue.loop_put, queue.loop_get
    clock = Clock()
    for _ in repeat(None, n):
        call_soon(put, 42)
        await get()
    return clock.sample()


async def through_two(factory: Factory, n: int) -> Sample:
    out, back = factory(), factory()
    try:
        return await asyncio.wait_for(there_and_back(out, back, n), PATIENCE_SECONDS)
    finally:
        await out.close()
        await back.close()


def in_loop_with_two(factory: Factory, n: int) -> Sample:
    with quiet_gc():
        return asyncio.run(through_two(factory, n))


CASES = (
    Case("mixed-two-threads", "loop → thread → loop", "MixedQueue", in_loop_with_two),
    Case(
        "mixed-one-loop", "call_soon(put), await get", "LoopQueue", in_event_loop(within_the_loop)
    ),
)
