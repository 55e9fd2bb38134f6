"""The errors that the standard library has no name for."""

from __future__ import annotations

__all__ = ["DeadlockError"]


class DeadlockError(RuntimeError):
    """A wait was refused because it could never end; the text names the holder.

    Raised instead of waiting, so nothing was acquired and nothing is lost.
    """
