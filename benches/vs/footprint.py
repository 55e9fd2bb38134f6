"""Bytes that this process has allocated, and what it keeps resident.

Python's own allocator takes from the C library in big pieces and does not say how much of them is
in use. A child process that is started with ``PYTHONMALLOC=malloc`` has every block, Python's, C's
and Rust's, from the one allocator that can be asked. Free-threaded builds have no such mode: there
the resident pages are counted, over more objects.
"""

from __future__ import annotations

import functools
import os
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
EXACT = os.environ.get("PYTHONMALLOC") == "malloc"
# Of `struct mallinfo2` in the GNU C library.
MALLOC_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


def exact_environment() -> dict[str, str]:
    """For a child whose allocations shall be counted exactly, where that is possible.

    The C library counts what was freed into a thread's cache as in use: a heap that grew by copying
    would be charged with its former selves, and another that came later with nothing. So there is
    no such cache.
    """
    exact = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    return {} if FREE_THREADED else exact


def allocated_bytes() -> int:
    """All bytes in use, if this process was started for it; otherwise its resident bytes."""
    if not EXACT:
        return resident_bytes()
    info = mallinfo2()()
    return int(info.uordblks + info.hblkhd)


@functools.cache
def mallinfo2() -> Callable[[], Any]:
    """The C library's function; finding it allocates, so it is kept."""
    import ctypes  # which some free-threaded builds lack, and they do not come here

    class MallocInfo(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in MALLOC_FIELDS]

    function = ctypes.CDLL(None).mallinfo2
    function.restype = MallocInfo
    function()
    return cast(Callable[[], Any], function)


def resident_bytes(process: int | str = "self") -> int:
    """Resident bytes; from the one file of Linux that does not lag behind."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Rss":
            return int(rest.split()[0]) * 1024
    raise OSError(f"/proc/{process}/smaps_rollup does not say Rss")
