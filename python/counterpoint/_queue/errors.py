"""The queues' exceptions: the stdlib's own classes, where it has them."""

from __future__ import annotations

import queue
from queue import Empty, Full

__all__ = ["Empty", "Full", "Moved", "ShutDown"]

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:

    class ShutDown(Exception):
        """Raised by put and get of a queue that was shut down."""

elif hasattr(queue, "ShutDown"):
    ShutDown = queue.ShutDown
else:

    class ShutDown(Exception):
        """Raised by put and get of a queue that was shut down."""

    ShutDown.__module__ = "counterpoint.queue"


class Moved(Exception):
    """Internal: the queue went into compatible mode while a task waited for it."""
