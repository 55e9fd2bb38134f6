"""Serves on one event loop: ``python -m benches.vs.loops.server KIND MODULE:FUNCTION``.

Prints its port; ends at the end of its standard input.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys

from benches.vs.loops import echo, web
from benches.vs.loops.names import new_loop_of

STARTS = echo.STARTS | web.STARTS
BACKLOG = 1024
BIG_BLOCK_BYTES = 1 << 20


async def serve(kind: str, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    port = listener.getsockname()[1]  # before a loop takes the socket's descriptor
    kept = await STARTS[kind](listener)
    # Nothing is written to it: it is readable once it ends.
    loop.add_reader(0, os._exit, 0)
    print(port, flush=True)
    await loop.create_future()
    del kept


def age_allocator() -> None:
    """Free a big block once, as any program has that ran for a while.

    From then on the C library takes blocks of this size from its heap. Before it, asyncio's and
    rloop's reads into 256 KiB are pages mapped and unmapped each time, at thrice the cost: that
    would flatter who does without.
    """
    bytearray(BIG_BLOCK_BYTES)


def listen() -> socket.socket:
    """Names its protocol, as those do that loops make: asyncio sets TCP_NODELAY on no other."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def main() -> None:
    kind, name = sys.argv[1:]
    age_allocator()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = listen()
    with asyncio.Runner(loop_factory=new_loop_of(name)) as runner:
        runner.run(serve(kind, listener))


if __name__ == "__main__":
    main()
