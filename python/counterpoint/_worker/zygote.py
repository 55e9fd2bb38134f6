"""The zygote: a process of one thread that forks workers, reaps them, and says how they ended.

It has imported what every worker needs, and what it was told to preload, so that a worker begins
a few milliseconds after it was asked for. It never runs a task and never opens a payload, so no
user's code runs in it but the modules that are preloaded.

Who dies when: the workers when the zygote does, by the kernel's hand; all of them, with the
processes that they started, when the user's process ends or closes its end of the control socket.

A module is imported by a probe first, a fork that is thrown away: if it fails there, hangs, kills
the process or leaves a thread behind, the zygote never meets it. If the zygote has a second thread
nevertheless (an interpreter can be set up to start one) it must not run Python in its forks, and
makes every worker a new interpreter instead.
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
from typing import NoReturn

from . import boot, kernel, wire
from .boot import complain

__all__ = ["main"]

# What runpy imports when a worker prepares the program's main module: here once, not in each.
PRELOADED = (pkgutil,)


class Child:
    """A worker, or a probe, which nobody wants reports about."""

    def __init__(self, pid: int, pidfd: int, channel: socket.socket | None) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        self.ended = False

    def kill_group(self) -> None:
        """Kill it and all that it started; not reaped yet, it cannot be mistaken."""
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except OSError:
                pass

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.pidfd)
        if self.channel is not None:
            self.channel.close()


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
            ready = [fd for fd, _ in self.poll.poll()]
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
                self.launch(kind, socket.socket(fileno=fds.pop(0)), fds, complete)
        finally:
            wire.close_all(fds)

    def launch(
        self, kind: bytes, channel: socket.socket, fds: Sequence[int], complete: bool
    ) -> None:
        """Make a worker; the descriptors stay the caller's, but the channel does not."""
        try:
            if not complete:
                raise OSError(errno.EMFILE, "some descriptors were dropped")
            warm = kind == wire.WARM and threads() == 1
            pid = os.fork()
        except OSError as error:
            return fail(channel, error)
        if pid == 0:
            self.be(channel, fds, warm)
        return self.adopt(pid, channel)

    def be(self, channel: socket.socket, fds: Sequence[int], warm: bool) -> NoReturn:
        """The child's side. Reports itself, so that no worker ever runs that nobody knows."""
        try:
            payload, stdout, stderr, *own = fds
            boot.become_leader()
            boot.die_with(self.pid)
            pidfd = kernel.pidfd_open(os.getpid())
            if not wire.report(channel, wire.BORN, os.getpid(), [pidfd]):
                os._exit(0)  # nobody waits for it any more
            os.close(pidfd)
            channel.close()
            self.leave()
            boot.use_stdio(stdout, stderr)
            if not warm:
                boot.execute(payload, self.parent, own)
            start: wire.Start = wire.unseal(payload)
            os.close(payload)
            gc.enable()
            boot.enter(start, own, self.parent)
        except BaseException:
            complain()
        finally:
            os._exit(127)

    def leave(self) -> None:
        """Close, in a child, what only the zygote uses; the parent's pidfd is of use to it too."""
        self.control.close()
        for child in self.children:
            child.close()

    def adopt(self, pid: int, channel: socket.socket | None) -> None:
        """Watch over a new child."""
        try:
            child = Child(pid, kernel.pidfd_open(pid), channel)
        except OSError as error:  # no room for one more descriptor
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if channel is None:
                return self.modules.clear()
            return fail(channel, error)
        self.children.add(child)
        self.watch(child.pidfd, lambda: self.ended(child))
        if channel is not None:
            # Without events: only the other end's closing is of interest.
            self.watch(channel.fileno(), lambda: self.dismissed(child), 0)
        return None

    def ended(self, child: Child) -> None:
        """A child has ended: say how, and keep its number taken while somebody may use it."""
        self.forget(child.pidfd)
        child.ended = True
        status = kernel.wait_for(child.pidfd, reap=False)
        if child.channel is None:
            self.probed(status == 0)
        elif child.channel.fileno() in self.handlers:
            wire.report(child.channel, wire.ENDED, status)
            return
        self.bury(child)

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
        while self.modules and self.modules[0] in sys.modules:
            self.modules.popleft()
        try:
            if not self.modules or threads() != 1:
                return self.modules.clear()
            pid = os.fork()
        except OSError:
            return self.modules.clear()
        if pid == 0:
            self.try_import(self.modules[0])
        return self.adopt(pid, None)

    def try_import(self, name: str) -> NoReturn:
        try:
            boot.become_leader()
            boot.die_with(self.pid)
            self.leave()
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
        Zygote(socket.socket(fileno=control), parent).serve()
    except BaseException:
        complain()
    finally:
        os._exit(1)
