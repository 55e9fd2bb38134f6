"""The storm: SIGKILL of a random worker every few milliseconds, through 100,000 tasks.

In each, exactly the tasks that ran when their process died fail, every other result is right, and
no process, thread, descriptor, memory or entry of /dev/shm is left.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.programs import succeeds, with_own_shm

pytestmark = pytest.mark.timeout(100)

# A program of its own, whose workers start as fast as they can: they prepare no test runner.
PROGRAM = """
if __name__ == "__main__":
    from pathlib import Path
    from tests.faults import storms
    storms.weather(sys.argv[1], Path(sys.argv[2]))
    print("over")
"""


@pytest.mark.parametrize("name", ["small", "large", "patient", "everything"])
def test_the_storm(tmp_path: Path, name: str) -> None:
    out = succeeds(tmp_path, PROGRAM, name, str(tmp_path), prefix=with_own_shm(), timeout=90)
    assert out == "over\n"
