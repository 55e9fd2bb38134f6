"""Addresses that are numbers already: no name service is asked, so no thread is needed."""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["MISSING", "address_info", "name_info"]

MISSING = object()
"""It has to be asked for in the ordinary way."""

_getaddrinfo, _getnameinfo = socket.getaddrinfo, socket.getnameinfo
# With these the system's resolver reads numbers only, and does not wait for anybody.
_AS_NUMBERS = int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
_TO_NUMBERS = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


def address_info(host: Any, port: Any, family: Any, kind: Any, proto: Any, flags: Any) -> Any:
    """What `socket.getaddrinfo` returns, if it can be told at once; else MISSING."""
    if not (_is_number(host) and _is_port(port)) or type(flags) not in _FLAGS:
        return MISSING
    if socket.getaddrinfo is not _getaddrinfo:
        return MISSING  # a program's own may do anything
    try:
        return _getaddrinfo(host, port, family, kind, proto, int(flags) | _AS_NUMBERS)
    except OSError:
        return MISSING  # no number after all, or nothing comes of it: the error is the ordinary one


def name_info(address: Any, flags: Any) -> Any:
    """What `socket.getnameinfo` returns, if numbers are wanted; else MISSING."""
    if type(flags) is not int or flags & _TO_NUMBERS != _TO_NUMBERS:
        return MISSING
    if socket.getnameinfo is not _getnameinfo or type(address) is not tuple:
        return MISSING
    return _getnameinfo(address, flags)


_FLAGS = (int, socket.AddressInfo)


def _is_number(host: Any) -> bool:
    return type(host) is str and host.isascii() and (host[:1].isdigit() or ":" in host)


def _is_port(port: Any) -> bool:
    if type(port) is str:
        return not port or (port.isascii() and port.isdigit())
    return port is None or type(port) is int
