"""A class with a buffer that pickle passes out of band, and where such buffers are."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

LARGE = 1 << 20


class Plain:
    """Holds a buffer as arrays do; counts how often it is pickled."""

    reduced = 0

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        assert protocol >= 5
        Plain.reduced += 1
        return Plain, (pickle.PickleBuffer(self.content),)

    def fill(self, number: int) -> None:
        memoryview(self.content)[:] = bytes([number]) * LARGE

    def numbers(self) -> set[int]:
        return set(bytes(self.content))

    @property
    def is_mapped(self) -> bool:
        return type(memoryview(self.content).obj).__name__ == "Block"


def mapping_of(address: int) -> str:
    """What is mapped there: the name of it."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split(" ", 1)[0].split("-"))
        if start <= address < end:
            return line.partition("/")[2]
    return ""
