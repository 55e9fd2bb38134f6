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
        beginning = _Beginning(protocol)
        asyncios.__init__(loop, pipe, beginning, None, extra)
        self.set_protocol(protocol)
        self._counterpoint_pipe.begin(self._fileno)
        loop.call_soon(self._has_begun, beginning, waiter)

    def _has_begun(self: Any, beginning: _Beginning, waiter: Any) -> None:
        error = beginning.error
        if error is not None:
            self._fatal_error(error, "Fatal error: protocol.connection_made() call failed.")
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


class _Beginning:
    """Stands for a protocol until it is told that it is connected, and keeps what that raises."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self.error: BaseException | None = None

    def connection_made(self, transport: Any) -> None:
        try:
            self._protocol.connection_made(transport)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.error = error


class ReadPipeTransport(_Native, ReadPipeBase):
    """The end of a pipe from which is read: of a subprocess, a FIFO, a terminal.

    What differs:
        What `connection_made()` and `data_received()` raise closes it.
    """

    def _at_end(self) -> None:
        asyncios: Any = super(ReadPipeBase, self)
        asyncios._read_ready()  # it is at its end still


class WritePipeTransport(_Native, WritePipeBase):
    """The end of a pipe to which is written.

    What differs:
        What `connection_made()`, `pause_writing()` and `resume_writing()` raise closes it.
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
