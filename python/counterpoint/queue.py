"""`queue`, with queues that threads and asyncio tasks share.

The classes here replace the stdlib's of the same name; the exceptions are the stdlib's own.

>>> from counterpoint import queue
>>> q = queue.Queue(maxsize=2)
>>> q.put("spam")
>>> q.get()
'spam'
"""

from __future__ import annotations

from counterpoint import _core
from counterpoint._queue.classes import LifoQueue, PriorityQueue, Queue
from counterpoint._queue.errors import Empty, Full, ShutDown
from counterpoint._queue.simple import SimpleQueue

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]

for _class in (Queue, LifoQueue, PriorityQueue, SimpleQueue):
    _class.__module__ = __name__

_core._publish_queues([Queue, LifoQueue, PriorityQueue, SimpleQueue])
