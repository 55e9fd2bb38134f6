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


async def serve(kind: str, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    port = listener.getsockname()[1]  # before a loop takes the socket's descriptor
    kept = await STARTS[kind](listener)
    # Nothing is written to it: it is readable once it ends.
    loop.add_reader(0, os._exit, 0)
    print(port, flush=True)
    await loop.create_future()
    del kept


def main() -> None:
    kind, name = sys.argv[1:]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setblocking(False)
    with asyncio.Runner(loop_factory=new_loop_of(name)) as runner:
        runner.run(serve(kind, listener))


if __name__ == "__main__":
    main()
