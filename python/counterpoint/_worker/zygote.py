"""The zygote: a process of one thread that forks workers, reaps them, and says how they ended.

It has imported what every worker needs, and what it was told to preload, so that a worker begins
a few milliseconds after it was asked for. It never runs a task and never opens a payload, so no
user's code runs in it but the modules that are preloaded.

Who dies when: the workers when the zygote does, by the kernel's hand; all of them, with the
processes that they started, when the user's process ends or closes its end of the control socket.

A few spare workers are forked ahead while nothing else is to be done, and wait: who asks for one
need not wait for its fork. They are renewed when a module is preloaded.

A module is imported by a probe first, a fork that is thrown away: if it fails there, hangs, kills
the process or leaves a thread behind, the zygote never meets it, nor what is in it: NumPy would
fail a hundred times, once for each of its modules, and each time be imported whole. If the zygote
has a second thread nevertheless (an interpreter can be set up to start one) it must not run Python
in its forks, and makes every worker a new interpreter instead.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import pkgutil
import select
import signal
import socket
import sys
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

from . import boot, kernel, spares, wire
from .boot import complain
from .spares import CALM, LONG, Child, Spares

__all__ = ["main"]

# What runpy imports when a worker prepares the program's main module: here once, not in each.
PRELOADED = (pkgutil,)

# After so many modules that could not be imported none is tried any more: each may have cost all
# that it imports.
MOST_REFUSED = 8

# How much a probe yields to who computes: at 19 a busy machine lets it wait for half a minute.
NICENESS = 5

# The status of a worker that could not begin.
FAULTY = 127


class Zygote:
    """The state of the process, and its loop."""

    def __init__(self, control: socket.socket, parent: int) -> None:
        self.control = control
        self.parent = parent
        self.pid = os.getpid()
        self.children: set[Child] = set()
        # What to do when a descriptor has something to say.
        self.handlers: dict[int, Callable[[], None]] = {}
        self.poll = select.poll()
        self.modules: deque[str] = deque()
        self.probing: Child | None = None
        self.refused: list[str] = []
        self.spares = Spares()
        self.watch(parent, self.end)
        self.watch(control.fileno(), self.request)

    def watch(self, fd: int, handler: Callable[[], None], events: int = select.POLLIN) -> None:
        self.handlers[fd] = handler
        self.poll.register(fd, events)

    def forget(self, fd: int) -> None:
        if self.handlers.pop(fd, None) is not None:
            self.poll.unregister(fd)

    def serve(self) -> NoReturn:
        """Until the end."""
        while True:
            ready = [fd for fd, _ in self.poll.poll(self.spares.patience())]
            if not ready:
                self.add_spare()
            # Requests last: they open descriptors, whose numbers may be those that the others of
            # this round have closed.
            ready.sort(key=self.control.fileno().__eq__)
            for fd in ready:
                handler = self.handlers.get(fd)
                if handler is not None:
                    handler()

    def end(self) -> NoReturn:
        """Nobody is left to work for."""
        for child in self.children:
            child.kill_group()
        os._exit(0)

    def request(self) -> None:
        """Do what one request asks for."""
        try:
            kind, fds, complete = wire.receive(self.control, 1)
        except ConnectionResetError:
            self.end()
        if not kind:
            self.end()
        try:
            if kind == wire.PRELOAD:
                self.preload(fds if complete else ())
            elif fds:
                self.launch(kind, wire.opened(fds.pop(0)), fds, complete)
        finally:
            wire.close_all(fds)

    def launch(
        self, kind: bytes, channel: socket.socket, fds: Sequence[int], complete: bool
    ) -> None:
        """Make a worker; the descriptors stay the caller's, but the channel does not."""
        try:
            if not complete:
                raise OSError(errno.EMFILE, "some descriptors were dropped")
            warm = kind in (wire.WARM, wire.FRESH)
            if warm:
                self.spares.wanted = True
                self.spares.put_off(CALM)
                if kind == wire.WARM and self.hire(channel, fds):
                    return None
                warm = threads() == 1
            pid = os.fork()
        except OSError as error:
            return fail(channel, error)
        if pid == 0:
            self.be(lambda: self.begin(channel, fds, warm))
        self.adopt(pid, channel)
        return None

    def hire(self, channel: socket.socket, fds: Sequence[int]) -> bool:
        """Make a spare the worker, if there is one."""
        child = self.spares.hire(channel, fds)
        if child is None:
            return False
        self.watch_channel(child, channel)
        return True

    def add_spare(self) -> None:
        """Fork one more worker that waits to be hired."""
        self.spares.wanted = threads() == 1
        if not self.spares.wanted:
            return None
        try:
            inbox, theirs = wire.pair()
            with theirs:
                pid = os.fork()
                if pid == 0:
                    inbox.close()
                    self.be(lambda: partial(self.wait_for_orders, theirs))
        except OSError:
            return self.spares.put_off(LONG)
        child = self.adopt(pid, None, inbox)
        if child is None:
            return self.spares.put_off(LONG)
        return self.spares.add(child)

    def be(self, prepare: Callable[[], boot.Take]) -> NoReturn:
        """A worker's side. What it prepares brings it its orders, if they are not there yet."""
        try:
            self.settle_in()
            gc.enable()
            boot.enter(prepare(), self.parent)
        except BaseException:
            complain()
        finally:
            os._exit(FAULTY)

    def begin(self, channel: socket.socket, fds: Sequence[int], warm: bool) -> boot.Take:
        """Be the worker that was asked for; a new interpreter if it is not to be warm."""
        payload, own = self.introduce(channel, fds)
        if not warm:
            boot.execute(payload, self.parent, own)
        return lambda: (boot.open_start(payload), own)

    def wait_for_orders(self, inbox: socket.socket) -> tuple[wire.Start, Sequence[int]]:
        """A spare's."""
        name = kernel.set_name(spares.NAME)
        with suppress(Exception):  # a sandbox may refuse something, perhaps not to the worker
            boot.rehearse()
        kind, fds, complete = wire.receive(inbox, 1)
        if not kind or not complete:
            os._exit(FAULTY if kind else 0)
        payload, own = self.introduce(wire.opened(fds.pop(0)), fds)
        inbox.close()
        kernel.set_name(name)
        return boot.open_start(payload), own

    def settle_in(self) -> None:
        """Be a process like another, in a child, and nobody's but the zygote's."""
        boot.become_leader()
        boot.die_with(self.pid)
        self.leave()

    def introduce(self, channel: socket.socket, fds: Sequence[int]) -> tuple[int, list[int]]:
        """Report oneself, so that no worker ever runs that nobody knows, and take one's output.

        Returns the payload and the target's descriptors.
        """
        pidfd = kernel.pidfd_open(os.getpid())
        if not wire.report(channel, wire.BORN, os.getpid(), [pidfd]):
            os._exit(0)  # nobody waits for it any more
        os.close(pidfd)
        channel.close()
        payload, stdout, stderr, *own = fds
        boot.use_stdio(stdout, stderr)
        return payload, own

    def leave(self) -> None:
        """Close, in a child, what only the zygote uses; the parent's pidfd is of use to it too."""
        self.control.close()
        for child in self.children:
            child.close()

    def adopt(
        self, pid: int, channel: socket.socket | None, inbox: socket.socket | None = None
    ) -> Child | None:
        """Watch over a new child; None if there is no room for one more descriptor."""
        try:
            child = Child(pid, channel, inbox)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if channel is not None:
                fail(channel, error)
            return None
        self.children.add(child)
        self.watch(child.pidfd, lambda: self.ended(child))
        if channel is not None:
            self.watch_channel(child, channel)
        return child

    def watch_channel(self, child: Child, channel: socket.socket) -> None:
        # Without events: only the other end's closing is of interest.
        self.watch(channel.fileno(), lambda: self.dismissed(child), 0)

    def ended(self, child: Child) -> None:
        """A child has ended: say how, and keep its number taken while somebody may use it."""
        self.forget(child.pidfd)
        child.ended = True
        status = kernel.wait_for(child.pidfd, reap=False)
        if child.channel is not None and child.channel.fileno() in self.handlers:
            wire.report(child.channel, wire.ENDED, status)
            return
        self.bury(child)
        if child is self.probing:
            self.probed(status == 0)

    def dismissed(self, child: Child) -> None:
        """The parent has closed its end."""
        assert child.channel is not None
        self.forget(child.channel.fileno())
        if child.ended:
            self.bury(child)

    def bury(self, child: Child) -> None:
        """Let the number of a process go."""
        kernel.wait_for(child.pidfd, reap=True)
        self.children.discard(child)
        child.close()
        self.spares.forget(child)

    def preload(self, fds: Sequence[int]) -> None:
        """Import modules, when nothing else is to be done, one after the other."""
        if len(fds) == 1:
            path, modules = wire.unseal(fds[0])
            sys.path[:] = path
            idle = not self.modules
            self.modules.extend(modules)
            if idle:
                self.probe()

    def probe(self) -> None:
        """Try the next module in a fork."""
        while self.modules and self.is_pointless(self.modules[0]):
            self.modules.popleft()
        self.probing = self.fork_probe() if self.modules and threads() == 1 else None
        if self.probing is None:
            self.modules.clear()
        # While modules are tried each good one would end all spares.
        self.spares.put_off(LONG if self.probing else CALM)

    def fork_probe(self) -> Child | None:
        try:
            pid = os.fork()
        except OSError:
            return None
        if pid == 0:
            self.try_import(self.modules[0])
        return self.adopt(pid, None)

    def is_pointless(self, name: str) -> bool:
        """Whether a module is there, or would fail as one did that it is a part of."""
        if len(self.refused) >= MOST_REFUSED or name in sys.modules:
            return True
        return any(f"{name}.".startswith(f"{refused}.") for refused in self.refused)

    def try_import(self, name: str) -> NoReturn:
        try:
            kernel.set_name(spares.PROBE)
            os.nice(NICENESS)
            self.settle_in()
            null = os.open(os.devnull, os.O_RDWR)
            boot.use_stdio(null, os.dup(null))
            importlib.import_module(name)
            os._exit(threads() != 1)
        finally:
            os._exit(1)

    def probed(self, good: bool) -> None:
        """Import a module that did no harm, and go on with the next."""
        name = self.modules.popleft()
        if good:
            try:
                importlib.import_module(name)
            except Exception:
                pass  # a worker that needs it will say why
            settle()
            self.spares.dismiss()
        else:
            self.refused.append(name)
        self.probe()


def fail(channel: socket.socket, error: OSError) -> None:
    """Say that there will be no worker, or no more news of it."""
    wire.report(channel, wire.FAILED, error.errno or errno.EIO)
    channel.close()


def threads() -> int:
    """Threads of this process, those included of which Python does not know."""
    return len(os.listdir("/proc/self/task"))


def settle() -> None:
    """Keep the collector from touching, and so from copying, what the workers share."""
    gc.collect()
    gc.freeze()


def main(control: int, parent: int) -> NoReturn:
    """Be the zygote of the process that holds the other end of the control socket.

    Args:
        control: a socket, from which the requests come.
        parent: a pidfd of that process.
    """
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for fd in (control, parent):
            os.set_inheritable(fd, False)
        if threads() != 1:
            # The only forks from now on are followed by an exec at once.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
        gc.disable()
        settle()
        Zygote(wire.opened(control), parent).serve()
    except BaseException:
        complain()
    finally:
        os._exit(1)
