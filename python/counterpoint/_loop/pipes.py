"""Pipe transports: asyncio's, which read natively, and write what the kernel takes at once."""

from __future__ import annotations

from typing import Any

from .native import Pipe, ReadPipeBase, WritePipeBase
from .transport import pause_protocol, resume_protocol

__all__ = ["ReadPipeTransport", "WritePipeTransport"]


class _Native:
    """A transport whose native half knows the descriptor once asyncio's class does."""

    __slots__ = ()

    def __init__(
        self: Any, loop: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> None:
        self._counterpoint_pipe = Pipe(loop._counterpoint_loop)
        asyncios: Any = super()
        asyncios.__init__(loop, pipe, protocol, waiter, extra)
        self._counterpoint_pipe.begin(self._fileno)


class ReadPipeTransport(_Native, ReadPipeBase):
    """The end of a pipe from which is read: of a subprocess, a FIFO, a terminal.

    What differs:
        What `data_received()` raises closes it.
    """

    def _at_end(self) -> None:
        asyncios: Any = super(ReadPipeBase, self)
        asyncios._read_ready()  # it is at its end still


class WritePipeTransport(_Native, WritePipeBase):
    """The end of a pipe to which is written.

    What differs:
        What `pause_writing()` and `resume_writing()` raise closes it.
    """

    def _maybe_pause_protocol(self) -> None:
        pause_protocol(self, self._end_soon)

    def _maybe_resume_protocol(self) -> None:
        resume_protocol(self, self._end_soon)

    def _end_soon(self, error: BaseException) -> None:
        # Not now: asyncio's code, which calls this, goes on with what it does.
        self._loop.call_soon(self._end, error)

    def _end(self, error: BaseException) -> None:
        if not self._closing:
            self._close(error)

    def _write_otherwise(self, data: Any) -> None:
        super(WritePipeBase, self).write(data)
