"""The records of an event loop and of its connections. Imports nothing of asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from counterpoint._statistics import WaitStatistics, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from counterpoint._core import Meter

__all__ = [
    "GAUGES",
    "ConnectionStatistics",
    "DepthStatistics",
    "LoopStatistics",
    "Stall",
    "collect",
]


class DepthStatistics(NamedTuple):
    """How many callbacks were ready at once.

    >>> DepthStatistics(turns=2, p50=1, p99=7, max=7).max
    7
    """

    turns: int
    p50: int
    p99: int
    max: int


class ConnectionStatistics(NamedTuple):
    """A stream transport, by `get_extra_info("statistics")`, through TLS and streams too."""

    bytes_received: int
    bytes_sent: int
    unsent: int


StackLine: TypeAlias = tuple[str, int, str]
"""File, line and function."""


class Stall(NamedTuple):
    """A callback that kept its loop for long."""

    callback: str
    began: float
    seconds: float
    ended: bool
    sampled: float | None
    stack: tuple[StackLine, ...]


class LoopStatistics(NamedTuple):
    """An event loop."""

    name: str | None
    turns: int
    polls: int
    callbacks: int
    timers_fired: int
    connections: int
    bytes_received: int
    bytes_sent: int
    open_connections: int
    ready: int
    timers: int
    lag: WaitStatistics
    run_time: WaitStatistics
    depth: DepthStatistics
    asleep: float
    utilisation: float
    lag_histogram: tuple[tuple[float, int], ...]
    run_histogram: tuple[tuple[float, int], ...]
    depth_histogram: tuple[tuple[int, int], ...]
    stalls: int
    recent_stalls: tuple[Stall, ...]


GAUGES = ("open_connections", "ready", "timers")
"""The fields that tell of now, and not of what has been."""


def collect(name: str | None, meter: Meter, gauges: Sequence[int]) -> LoopStatistics:
    """One record for some loops.

    Args:
        name: theirs.
        meter: what they have counted and measured.
        gauges: the sums of `GAUGES` over those that are alive.
    """
    counts = meter.counts()
    run_time = meter.waits("run_time")
    elapsed = counts.get("elapsed_ns", 0) / 1e9
    open_connections, ready, timers = gauges
    stalls, recent = meter._stalls()
    return LoopStatistics(
        name=name,
        turns=counts.get("turns", 0),
        polls=counts.get("polls", 0),
        callbacks=counts.get("callbacks", 0),
        timers_fired=counts.get("timers_fired", 0),
        connections=counts.get("connections", 0),
        bytes_received=counts.get("bytes_received", 0),
        bytes_sent=counts.get("bytes_sent", 0),
        open_connections=open_connections,
        ready=ready,
        timers=timers,
        lag=meter.waits("lag"),
        run_time=run_time,
        depth=_depth(meter.waits("depth")),
        asleep=counts.get("asleep_ns", 0) / 1e9,
        utilisation=min(1.0, run_time.total / elapsed) if elapsed else 0.0,
        lag_histogram=tuple(meter._histogram("lag")),
        run_histogram=tuple(meter._histogram("run_time")),
        depth_histogram=_powers(meter._histogram("depth")),
        stalls=stalls,
        recent_stalls=tuple(Stall(*stall[:5], tuple(stall[5])) for stall in recent),
    )


# A meter knows times only: it has a depth of one as a microsecond.
_ONE = 1e-6


def _depth(depths: WaitStatistics) -> DepthStatistics:
    p50, p99, most = (round(depth / _ONE) for depth in (depths.p50, depths.p99, depths.max))
    return DepthStatistics(depths.count, p50, p99, most)


def _powers(histogram: Sequence[tuple[float, int]]) -> tuple[tuple[int, int], ...]:
    """The buckets end at powers of two, of which the histogram's own bounds are within 7 %."""
    return tuple((2**at, count) for at, (_, count) in enumerate(histogram))


describe(
    DepthStatistics,
    turns="Turns that were measured and had something to run.",
    p50="In half of the turns at most so many callbacks were ready.",
    p99="In all but one in a hundred turns at most so many callbacks were ready.",
    max="The most callbacks that were ready at once.",
)
describe(
    ConnectionStatistics,
    bytes_received="Bytes received so far.",
    bytes_sent="Bytes sent so far: taken by the kernel.",
    unsent="Bytes that were written and are not sent yet.",
)
describe(
    Stall,
    callback="What it is called: a task, or a function and its place; empty: unknown.",
    began="The loop's `time()` when the watchdog first saw it.",
    seconds="How long it took from then on; up to now if it goes on.",
    ended="Whether it has ended.",
    sampled="So many seconds from then on the stack was recorded; None: it had ended before.",
    stack="File, line and function of each of its frames, the innermost last.",
)
describe(
    LoopStatistics,
    name="None: no loop has a name.",
    turns="Turns so far.",
    polls="How often the kernel was asked for events.",
    callbacks="Callbacks that ran, and transports that read or wrote.",
    timers_fired="Timers whose time has come.",
    connections="Stream transports made so far.",
    bytes_received="Bytes that stream transports received so far.",
    bytes_sent="Bytes that stream transports sent so far.",
    open_connections="Stream transports that are not closed.",
    ready="Callbacks that are ready now.",
    timers="Timers that are set now, with those of the cancelled that are not swept yet.",
    lag="One sample for each turn: how long that had been ready which had been ready the longest.",
    run_time="How long callbacks took.",
    depth="One sample for each turn: how many callbacks were ready.",
    asleep="Seconds in which it waited in the kernel with nothing to run.",
    utilisation="Time spent in callbacks over the time that it ran, from 0 to 1.",
    lag_histogram="How many lags were at most so many seconds, and more than the last entry.",
    run_histogram="The same of how long callbacks took.",
    depth_histogram="The same of how many callbacks were ready.",
    stalls="Callbacks that the watchdog found to take long.",
    recent_stalls="The last 16 of them.",
)
