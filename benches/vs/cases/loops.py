"""Event loops: servers, judged by their CPU time for each request, and what a loop does by itself.

Names begin with ``loop-``. The demands are those of the project on its loop: no row below the best
other loop, asyncio's included, and more where the others leave room.
"""

from __future__ import annotations

from collections.abc import Iterator

from benches.vs.case import Case, Demand
from benches.vs.libraries import BEST_OTHER, STDLIB
from benches.vs.loops.names import BARE
from benches.vs.loops.sessions import DATAGRAMS, HTTP, Setup, in_session
from benches.vs.loops.works import BURST, KIB, MANY, TIMERS

NEVER_BELOW = Demand(1, BEST_OTHER)
WITH_BARE = {BARE: (STDLIB, "BareServer")}
# Titles, and the share of the bare server that is demanded for small messages.
ECHOES = {
    "protocol": ("Protocol", 0.93),
    "buffered": ("BufferedProtocol", 0.93),
    "streams": ("streams", 0.75),
    "sock": ("sock_recv + sock_sendall", 0.55),
}
SIZES_KIB = (1, 10, 100)
BIG_KIB = 100


def echo_cases() -> Iterator[Case]:
    for kind, (title, share) in ECHOES.items():
        for size in SIZES_KIB:
            big = Demand(1.05, BEST_OTHER)
            yield Case(
                f"loop-{kind}-{size}k",
                f"echo of {size} KiB on 10 connections, {title}",
                "Loop",
                in_session(Setup(kind, size * KIB)),
                (big,) if size >= BIG_KIB else (Demand(share, BARE), NEVER_BELOW),
                clock="host",
                also=WITH_BARE,
                unit="/s",
            )


def datagram_cases() -> Iterator[Case]:
    yield Case(
        "loop-datagrams-1k",
        "echo of datagrams of 1 KiB to 10 sockets",
        "Loop",
        in_session(Setup(DATAGRAMS, KIB)),
        (NEVER_BELOW,),
        clock="host",
        also=WITH_BARE,
        unit="/s",
    )


def tls_cases() -> Iterator[Case]:
    for size in (1, 10):
        yield Case(
            f"loop-tls-{size}k",
            f"echo of {size} KiB on 10 connections, Protocol over TLS",
            "Loop",
            in_session(Setup("tls", size * KIB)),
            (Demand(1.3, "uvloop"), NEVER_BELOW),
            clock="host",
            unit="/s",
        )


def web_cases() -> Iterator[Case]:
    for kind in ("uvicorn", "aiohttp"):
        yield Case(
            f"loop-{kind}",
            f"{kind}, plain text on 10 connections",
            "Loop",
            in_session(Setup(kind, HTTP)),
            (Demand(1.15, "uvloop"), NEVER_BELOW),
            clock="host",
            unit="/s",
        )


def alone(
    name: str, title: str, demands: tuple[Demand, ...], step: int = 1, wall: bool = False
) -> Case:
    """What a loop does by itself; one step at least."""
    clock = "wall" if wall else "host"
    run = in_session(name)
    # Starting the loop and stopping it is to cost nothing beside.
    base = max(step, BURST)
    return Case(f"loop-{name}", title, "Loop", run, demands, clock, step=step, base=base)


SERVERS = (*echo_cases(), *datagram_cases(), *tls_cases(), *web_cases())
ALONE = (
    alone("chain", "call_soon, a callback that schedules itself", (Demand(1.2, BEST_OTHER),)),
    alone("burst", f"call_soon, {BURST:,} callbacks at once", (Demand(1.2, BEST_OTHER),), BURST),
    alone(
        "set-and-cancel",
        "call_later + cancel",
        (Demand(1.5, "rloop"), NEVER_BELOW),
        TIMERS,
    ),
    alone("timers", f"call_later, {TIMERS:,} timers that fire", (NEVER_BELOW,), TIMERS),
    alone(
        "threadsafe",
        "call_soon_threadsafe from another thread",
        (Demand(1, "rloop"), NEVER_BELOW),
        wall=True,
    ),
    alone("pipe", "1 KiB through a pipe, once round", (NEVER_BELOW,)),
    alone("gather", f"gather of {MANY:,} tasks", (Demand(1.1, BEST_OTHER),), MANY),
    alone("switches", "sleep(0), switches of two tasks", (Demand(1.1, BEST_OTHER),), 2),
    alone("tasks", "create_task + await", (NEVER_BELOW,)),
)
