"""The loop's native classes, which exist once somebody asks for them: they need asyncio."""

from __future__ import annotations

from counterpoint import _core

__all__ = [
    "Connection",
    "Datagram",
    "DatagramBase",
    "Handle",
    "Loop",
    "LoopBase",
    "Operation",
    "Pipe",
    "ReadPipeBase",
    "TimerHandle",
    "Tls",
    "TlsProtocolBase",
    "TlsTransportBase",
    "TransportBase",
    "WritePipeBase",
    "end_watchdog",
    "quicken",
]

_classes = _core._event_loop()

Handle = _classes.Handle
TimerHandle = _classes.TimerHandle
Loop = _classes.Loop
LoopBase = _classes.LoopBase
Operation = _classes.Operation
Connection = _classes.Connection
TransportBase = _classes.TransportBase
Datagram = _classes.Datagram
DatagramBase = _classes.DatagramBase
Pipe = _classes.Pipe
ReadPipeBase = _classes.ReadPipeBase
WritePipeBase = _classes.WritePipeBase
end_watchdog = _classes.end_watchdog
quicken = _classes.quicken
Tls = _classes.Tls
TlsProtocolBase = _classes.TlsProtocolBase
TlsTransportBase = _classes.TlsTransportBase
