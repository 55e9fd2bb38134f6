"""What the workers of a storm run. They are started often, so this imports little."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

_book: mmap.mmap | None = None


class Book:
    """Bytes of a file that every process writes to: what began, and how often."""

    def __init__(self, path: Path, tasks: int) -> None:
        path.write_bytes(bytes(2 * tasks))
        self.path, self.tasks = str(path), tasks

    def open(self) -> None:
        """In a worker."""
        global _book
        with open(self.path, "r+b") as file:
            _book = mmap.mmap(file.fileno(), 0)

    def read(self) -> tuple[bytes, bytes]:
        """How often each task began, and ended."""
        content = Path(self.path).read_bytes()
        return content[: self.tasks], content[self.tasks :]


def note(number: int, tasks: int) -> int:
    """A task that notes that it began, and that it ended."""
    assert _book is not None
    _book[number] += 1
    # Long enough for a hundred thousand of them to meet a storm.
    total = sum(range(500))
    _book[tasks + number] += 1
    return number * 3 if total else 0


def note_large(number: int, tasks: int, argument: Any) -> bytearray:
    assert _book is not None
    assert len(argument) == LARGE
    assert argument[0] == argument[-1] == number % 251
    _book[number] += 1
    made = bytearray([number % 251]) * LARGE
    _book[tasks + number] += 1
    return made


LARGE = 300_000
