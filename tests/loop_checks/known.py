"""What other loops are known to fail; the docs' table comes from it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fnmatch import fnmatch

from tests.loop_checks import CHECKS


@dataclass(frozen=True)
class Known:
    """Checks, as a pattern, that a loop does not pass, and what happens instead."""

    loop: str
    check: str
    what: str
    since: tuple[int, int] = (3, 11)
    # It depends on the moment.
    sometimes: bool = False

    def is_about(self, loop: str, check: str) -> bool:
        """Whether it says something of this check on this loop, on this version of Python."""
        return self.loop == loop and sys.version_info >= self.since and fnmatch(check, self.check)


def _asyncio(check: str, what: str, **more: object) -> Known:
    return Known("asyncio", check, what, **more)  # type: ignore[arg-type]


def _uvloop(check: str, what: str, **more: object) -> Known:
    return Known("uvloop", check, what, **more)  # type: ignore[arg-type]


def _rloop(check: str, what: str, **more: object) -> Known:
    return Known("rloop", check, what, **more)  # type: ignore[arg-type]


CORRUPTED = "sent as it became"
OPEN = "it reaches the handler, but the connection stays open"
ALL_RUN = "the turn goes on; of several interrupts one comes out"
UNSEEN = "it never reaches the handler"
NO_TLS = "there is no TLS"

KNOWN: tuple[Known, ...] = (
    _asyncio("write_changed_*", CORRUPTED, since=(3, 12)),
    _asyncio("write_resized_bytearray", "BufferError", since=(3, 12)),
    _asyncio("exception_in_connection_made", OPEN),
    _asyncio("exception_in_pause_writing", OPEN),
    _asyncio("exception_in_resume_writing", OPEN),
    _asyncio(
        "interrupt_at_random",
        "a timer is lost or late if it strikes while timers are compared",
        sometimes=True,
    ),
    _asyncio("socket_cancelled_receive", "the data is lost"),
    _asyncio("socket_descriptor_of_another", "the next is never told"),
    _asyncio("fork_inherited_idle", "the parent's epoll forgets what the child removes"),
    _uvloop("timers_never_early", "by up to a millisecond"),
    _uvloop("timers_in_order", "not within a millisecond"),
    _uvloop("write_changed_*", CORRUPTED),
    _uvloop("write_resized_bytearray", "BufferError"),
    _uvloop("exception_in_connection_made", OPEN),
    _uvloop("exception_in_pause_writing", OPEN),
    _uvloop("exception_in_resume_writing", OPEN),
    _uvloop("exception_in_get_buffer", UNSEEN),
    _uvloop("interrupt_in_callbacks", ALL_RUN),
    _uvloop("interrupt_in_tasks", ALL_RUN),
    _uvloop("interrupt_in_protocols", "it is taken for an error of the connection"),
    _uvloop("interrupt_in_connection_made", "a client's connection never begins"),
    _uvloop("interrupt_at_random", "it may be swallowed", sometimes=True),
    _uvloop("interrupt_system_exit", "in a protocol it is taken for an error of the connection"),
    _uvloop("cycles_aborted", "descriptors or objects are left", sometimes=True),
    _uvloop("peer_resets_while_written_to", "writing then is an error"),
    _uvloop("socket_cancelled_receive", "the data is lost"),
    _uvloop("fork_inherited_idle", "the parent's epoll forgets what the child removes"),
    _rloop("timers_in_order", "not within some milliseconds", sometimes=True),
    _rloop("timers_cancelled_in_time", "it fires", sometimes=True),
    _rloop("write_before_close", "connection_lost() is not called"),
    _rloop("exception_in_get_buffer", "the process is aborted"),
    _rloop("exception_in_[!h]*", UNSEEN),
    _rloop("interrupt_in_callbacks", ALL_RUN),
    _rloop("interrupt_in_tasks", ALL_RUN),
    _rloop("interrupt_in_protocols", "it is swallowed"),
    _rloop("interrupt_in_connection_made", "it is swallowed"),
    _rloop("interrupt_at_random", "it may be swallowed", sometimes=True),
    _rloop("interrupt_system_exit", "it hangs"),
    _rloop("threadsafe_after_close", "it is taken, and never called"),
    _rloop("threadsafe_while_closing", "it hangs"),
    _rloop("cycles_connections", "it hangs"),
    _rloop("cycles_streams", "descriptors are left open", sometimes=True),
    _rloop("cycles_aborted", "descriptors are left open"),
    _rloop("cycles_timers_and_tasks", "objects are left"),
    _rloop("cycles_tls", NO_TLS),
    _rloop("peer_resets", "connection_lost() is not called"),
    _rloop("peer_resets_while_written_to", "connection_lost() is not called"),
    _rloop("peer_half_closes", "what is written then is not sent"),
    _rloop("peer_unreachable_datagram", "the transport is closed"),
    _rloop("socket_cancelled_receive", "the data is lost"),
    _rloop("tls_*", NO_TLS),
    _rloop("fork_inherited_idle", "it panics"),
)


def known(loop: str, check: str) -> Known | None:
    """The entry for a check, or None."""
    return next((each for each in KNOWN if each.is_about(loop, check)), None)


def markdown(names: tuple[str, ...] = ("asyncio", "uvloop", "rloop")) -> str:
    """The table: a line for each check, a column for each loop."""
    rows = [("check", "Counterpoint", *names), ("---",) * (2 + len(names))]
    for name, check in CHECKS.items():
        found = [known(loop, name) for loop in names]
        cells = [_cell(each) for each in found]
        rows.append((str(check.__doc__).splitlines()[0], "yes", *cells))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(entry: Known | None) -> str:
    if entry is None:
        return "yes"
    return f"{'not always' if entry.sometimes else 'no'}: {entry.what}"


if __name__ == "__main__":
    print(markdown(), end="")
