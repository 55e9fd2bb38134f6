"""Pipe transports: asyncio's, which read natively, and write what the kernel takes at once."""

from __future__ import annotations

from typing import Any

from .native import Pipe, ReadPipeBase, WritePipeBase

__all__ = ["ReadPipeTransport", "WritePipeTransport"]


class ReadPipeTransport(ReadPipeBase):
    """The end of a pipe from which is read: of a subprocess, a FIFO, a terminal."""

    def __init__(
        self, loop: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> None:
        self._counterpoint_pipe = Pipe(loop._counterpoint_loop)
        super().__init__(loop, pipe, protocol, waiter, extra)
        self._counterpoint_pipe.begin(self._fileno)

    def _at_end(self) -> None:
        super(ReadPipeBase, self)._read_ready()  # it is at its end still


class WritePipeTransport(WritePipeBase):
    """The end of a pipe to which is written."""

    def __init__(
        self, loop: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> None:
        self._counterpoint_pipe = Pipe(loop._counterpoint_loop)
        super().__init__(loop, pipe, protocol, waiter, extra)
        self._counterpoint_pipe.begin(self._fileno)

    def _write_otherwise(self, data: Any) -> None:
        super(WritePipeBase, self).write(data)
