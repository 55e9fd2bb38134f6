"""Lines that workers write to their standard streams, as log records of the parent."""

from __future__ import annotations

import logging

__all__ = ["Outputs"]

# By the native half's number of the stream.
_LOGGERS = {
    1: ("counterpoint.worker.stdout", logging.INFO),
    2: ("counterpoint.worker.stderr", logging.WARNING),
}

# A line that is longer is logged in parts.
_LONGEST = 1 << 20


class Outputs:
    """Puts the pieces that arrive together into lines. Used by one thread."""

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int], bytes] = {}

    def add(self, number: int, stream: int, pid: int, content: bytes) -> None:
        """Log the lines that are complete now."""
        content = self._begun.pop((number, stream), b"") + content
        *lines, rest = content.split(b"\n")
        for line in lines:
            _log(stream, pid, line)
        if len(rest) > _LONGEST:
            _log(stream, pid, rest)
        elif rest:
            self._begun[number, stream] = rest

    def end(self, number: int, pid: int, lost: int) -> None:
        """Log what a worker that is gone wrote without a line's end, and how much is missing."""
        for stream in _LOGGERS:
            rest = self._begun.pop((number, stream), b"")
            if rest:
                _log(stream, pid, rest)
        if lost:
            text = "worker process %d: the last %d bytes that it wrote or logged were dropped"
            logging.getLogger("counterpoint.worker").warning(text, pid, lost)


def _log(stream: int, pid: int, line: bytes) -> None:
    name, level = _LOGGERS[stream]
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        text = line.decode(errors="backslashreplace").rstrip("\r")
        record = logger.makeRecord(name, level, "(worker)", 0, "%s", (text,), None)
        record.process = pid
        logger.handle(record)
