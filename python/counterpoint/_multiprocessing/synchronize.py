"""The names of `multiprocessing.synchronize`."""

from __future__ import annotations

from counterpoint._core import _SEM_VALUE_MAX as SEM_VALUE_MAX

from .barrier import Barrier
from .condition import Condition
from .event import Event
from .locks import Lock, OwnerDied, RLock
from .semaphores import BoundedSemaphore, Semaphore

__all__ = [
    "SEM_VALUE_MAX",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "OwnerDied",
    "RLock",
    "Semaphore",
]
