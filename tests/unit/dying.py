"""Processes that die with what they hold; they are started often, so this imports little."""

from __future__ import annotations

import signal
from typing import Any


def notify_and_hold(condition: Any, held: Any) -> None:
    """Notifies who waits, and never releases the lock for it."""
    condition.acquire()
    condition.notify()
    held.set()
    signal.pause()


def hold_and_change(value: Any, held: Any) -> None:
    """Dies in the middle of a change."""
    value.get_lock().acquire()
    value.get_obj()[0] = 1
    held.set()
    signal.pause()
