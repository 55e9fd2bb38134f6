"""`create_connection(all_errors=)` of Python 3.12, on the version before it."""

from __future__ import annotations

import contextvars
from typing import Any

from .native import LoopBase

__all__ = ["connect_sock", "create_connection"]

# Where the errors of each address go, in the call and in what it starts.
_errors: contextvars.ContextVar[list[list[list[Exception]]]] = contextvars.ContextVar("errors")


async def create_connection(
    self: Any,
    protocol_factory: Any,
    host: Any = None,
    port: Any = None,
    *,
    all_errors: bool = False,
    **more: Any,
) -> Any:
    """Connect to a TCP server; the same as asyncio's of Python 3.12.

    Args:
        all_errors: raise the errors of all addresses, as an ExceptionGroup.
    """
    connecting = super(LoopBase, self).create_connection(protocol_factory, host, port, **more)
    if not all_errors:
        return await connecting
    found: list[list[list[Exception]]] = []
    token = _errors.set(found)
    try:
        return await connecting
    except OSError:
        if not found:
            raise
        errors = [each for address in found[0] for each in address]
        raise ExceptionGroup("create_connection failed", errors) from None
    finally:
        _errors.reset(token)


async def connect_sock(self: Any, exceptions: list[list[Exception]], *arguments: Any) -> Any:
    """Notes where the errors go."""
    found = _errors.get(None)
    if found is not None and not found:
        found.append(exceptions)
    return await super(LoopBase, self)._connect_sock(exceptions, *arguments)
