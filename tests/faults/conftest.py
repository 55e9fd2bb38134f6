"""Every test of a fault leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Meeting, clean


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Checks that no descriptor, thread or process is left behind."""
    with clean():
        yield


@pytest.fixture
def meeting(tmp_path: Path, nothing_left: None) -> Iterator[Meeting]:
    """A place to meet tasks."""
    place = Meeting(tmp_path)
    yield place
    place.close()
