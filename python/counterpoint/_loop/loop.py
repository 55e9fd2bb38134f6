"""`EventLoop`: asyncio's surface over the native loop."""

from __future__ import annotations

import asyncio
import contextvars
import numbers
import selectors
import signal
import socket
import sys
import threading
import warnings
import weakref
from asyncio import base_events, events, format_helpers
from asyncio.log import logger
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from counterpoint import _install

from . import connecting, names, servers, stalls, tls
from .datagram import DatagramTransport
from .native import Loop, LoopBase
from .pipes import ReadPipeTransport, WritePipeTransport
from .selector import Selector
from .statistics import LoopStatistics, collect
from .transport import SocketTransport

if TYPE_CHECKING:
    from counterpoint._core import Meter

__all__ = ["EventLoop"]

_T = TypeVar("_T")


class EventLoop(LoopBase):
    """An asyncio event loop with a Rust core; the same as `asyncio.SelectorEventLoop`.

    It is one, in the sense of `isinstance`: what is done once for a connection, a subprocess or a
    signal is asyncio's own code. What is done for each callback, timer and event is native:
    `call_soon`, `call_later`, `call_at`, `call_soon_threadsafe`, the poll, and handles, which are
    instances of `asyncio.Handle` and `asyncio.TimerHandle`.

    What differs:
        A timer never fires early: in its callback `loop.time()` is at least what it was set for.
        While callbacks keep coming, the kernel is asked for events every 256 callbacks or 25 µs,
        and not in every turn.
        `call_soon` from another thread wakes the loop, though only `call_soon_threadsafe` is meant
        for that.
        `sock_recv` and its like, cancelled while they wait, have taken nothing from the socket.

    Fork: as with asyncio, a child must not run its parent's loop; it makes one of its own.

    >>> import asyncio
    >>> with asyncio.Runner(loop_factory=EventLoop) as runner:
    ...     runner.run(asyncio.sleep(0, "done"))
    'done'
    """

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        """Make a loop.

        Args:
            selector: taken because asyncio's class takes one, and closed: the native loop polls by
                itself, with epoll.

        Raises:
            TypeError: the selector is none.
        """
        if selector is not None:
            close = getattr(selector, "close", None)
            if not callable(close):
                raise TypeError(f"selector must be a selector or None, not {selector!r}")
            close()
        self._counterpoint_loop = Loop()
        if type(self).time is not LoopBase.time:
            self._counterpoint_loop.has_own_clock()
        super().__init__(Selector(self._counterpoint_loop))
        if sys.version_info < (3, 13):
            self._unix_server_sockets: dict[socket.socket, int] = {}
        if Loop.observe(self, self._counterpoint_loop):
            self.watch(log=False)

    def run_forever(self) -> None:
        """Run until `stop()` is called; the same as asyncio's.

        Ctrl-C and SystemExit leave the loop as it is: it can be run again.

        Raises:
            RuntimeError: it is closed, it runs already, or another loop runs in this thread.
        """
        self._run_forever_setup()
        try:
            self._turn_until_stopped()
        finally:
            self._run_forever_cleanup()

    if not hasattr(LoopBase, "_run_forever_setup"):  # new in Python 3.13

        def _run_forever_setup(self) -> None:
            """What has to be done before the loop runs."""
            self._check_closed()
            self._check_running()
            self._set_coroutine_origin_tracking(self.get_debug())
            self._old_agen_hooks = sys.get_asyncgen_hooks()
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(
                firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook
            )
            events._set_running_loop(self)

        def _run_forever_cleanup(self) -> None:
            """What has to be done after the loop ran."""
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*self._old_agen_hooks)

    def _turn_until_stopped(self) -> None:
        if type(self)._run_once is LoopBase._run_once:
            ours = self._be_woken_by_signals()
            try:
                self._spin()
            finally:
                if ours and not self._signal_handlers:
                    now = signal.set_wakeup_fd(-1)
                    if now not in (-1, self._csock.fileno()):
                        _give_back(now)  # somebody has set it meanwhile
            return
        # A subclass does something in each turn.
        while True:
            self._run_once()
            if self._stopping:
                break

    def _be_woken_by_signals(self) -> bool:
        """Have a signal make the loop's own socket readable; whether that was not so before.

        A signal that comes after the interpreter's last look at signals, and before the loop sleeps
        in the kernel, interrupts nothing.
        """
        try:
            before = signal.set_wakeup_fd(self._csock.fileno(), warn_on_full_buffer=False)
        except ValueError:
            return False  # not the main thread, to which signals are no matter
        return before == -1 or not _give_back(before)

    def _make_socket_transport(
        self, sock: socket.socket, protocol: Any, waiter: Any = None, **more: Any
    ) -> SocketTransport:
        self._ensure_fd_no_transport(sock)
        return SocketTransport(self, sock, protocol, waiter, **more)

    def _make_datagram_transport(self, sock: socket.socket, *arguments: Any, **more: Any) -> Any:
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return super()._make_datagram_transport(sock, *arguments, **more)
        self._ensure_fd_no_transport(sock)
        return DatagramTransport(self, sock, *arguments, **more)

    def _make_read_pipe_transport(self, *arguments: Any, **more: Any) -> Any:
        return ReadPipeTransport(self, *arguments, **more)

    def _make_write_pipe_transport(self, *arguments: Any, **more: Any) -> Any:
        return WritePipeTransport(self, *arguments, **more)

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        super()._ensure_fd_no_transport(fd)  # other transports, and what is no descriptor
        number = fd if isinstance(fd, int) else int(fd.fileno())
        if self._counterpoint_loop.is_held(number):
            what = f"<{SocketTransport.__name__} fd={number}>"
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {what}")

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int) -> Any:
        if not isinstance(transp, SocketTransport):
            return await super()._sendfile_native(transp, file, offset, count)
        connection, number = transp._counterpoint_connection, transp._sock_fd
        if not connection.release():
            raise RuntimeError("a file is being sent by this transport already")
        self._transports[number] = transp  # from where asyncio takes it for as long
        try:
            sent: int = await super()._sendfile_native(transp, file, offset, count)
        finally:
            self._transports.pop(number, None)
            connection.hold()
        connection.has_sent(sent)
        return sent

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: Any = None,
        server: Any = None,
        context: contextvars.Context | None = None,
        **timeouts: Any,
    ) -> Any:
        self._ensure_fd_no_transport(rawsock)
        inner = tls.SSLProtocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts
        )
        SocketTransport(self, rawsock, inner, extra=extra, server=server, context=context)
        return inner._app_transport

    start_tls = tls.start_tls

    if sys.version_info < (3, 12):
        create_connection = connecting.create_connection
        _connect_sock = connecting.connect_sock

    if sys.version_info < (3, 13):
        create_server = servers.create_server
        create_unix_server = servers.create_unix_server
        _stop_serving = servers.stop_serving

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Addresses of a host; the same as asyncio's.

        A host and a port that are numbers already need no thread, and are told without suspending;
        but in debug mode, which logs how long it takes.
        """
        if not self.get_debug():
            found = names.address_info(host, port, family, type, proto, flags)
            if found is not names.MISSING:
                return found
        return await super().getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """Names of an address; the same as asyncio's. Numbers need no thread."""
        found = names.name_info(sockaddr, flags)
        if found is not names.MISSING:
            return found
        return await super().getnameinfo(sockaddr, flags)

    def _create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], **kwargs: Any
    ) -> asyncio.Task[_T]:
        """`create_task` in debug mode or with a task factory."""
        factory: Any = self.get_task_factory()
        if kwargs.keys() <= {"name", "context"}:
            task = base_events.BaseEventLoop.create_task(self, coro, **kwargs)
        else:
            self._check_closed()
            if factory is not None:
                made: asyncio.Task[_T] = factory(self, coro, **kwargs)
                return made
            task = asyncio.Task(coro, loop=self, **kwargs)
        # In debug mode it says where it was made, which is not here.
        where: Any = getattr(task, "_source_traceback", None)
        if factory is None and where:
            del where[-1]
        return task

    if sys.version_info < (3, 13):  # none in 3.11, and none that is kept in 3.12

        async def shutdown_default_executor(self, timeout: float | None = None) -> None:
            """Wait for the default executor's threads; as in Python 3.13.

            Args:
                timeout: seconds; None: as long as it takes. RuntimeWarning if it was too short.
            """
            self._executor_shutdown_called = True
            executor: Any = self._default_executor
            if executor is None:
                return
            ended = self.create_future()
            thread = threading.Thread(target=self._shut_down, args=(executor, ended))
            thread.start()
            try:
                async with asyncio.timeout(timeout):
                    await ended
            except TimeoutError:
                # The words are asyncio's.
                text = "The executor did not finishing joining its threads"
                warnings.warn(f"{text} within {timeout} seconds.", RuntimeWarning, stacklevel=2)
                executor.shutdown(wait=False)
            else:
                thread.join()

        def _shut_down(self, executor: Any, ended: asyncio.Future[None]) -> None:
            executor.shutdown(wait=True)
            if not self.is_closed():
                self.call_soon_threadsafe(_set_result, ended)

    @property
    def _meter(self) -> Meter:
        return self._counterpoint_loop.meter()

    def measure(self, enabled: bool = True) -> None:
        """Have each turn measured from now on, or no more.

        It takes about as long as to read the clock after each callback. `counterpoint run` measures
        every loop.

        Args:
            enabled: whether to measure; the callback that calls this is not.
        """
        self._counterpoint_loop.measure(bool(enabled))

    def watch(self, threshold: float | None = 0.1, *, log: bool = True) -> None:
        """Have callbacks reported that block the loop, while they do.

        A native thread, one for the process, looks at the loop five times within the threshold. It
        names the callback that it finds running for longer, and records the stack of the loop's
        thread. Each is reported once: as a warning of the logger `counterpoint`, and in
        `statistics().recent_stalls`, where its duration is added when it ends. To record the stack
        it needs the interpreter: of a callback that runs C code without letting go of the GIL it
        records where that code was called from, as soon as it returns, or the name alone.
        `counterpoint run` watches every loop, and says in its summary what was found.

        Args:
            threshold: seconds; None: watch no more.
            log: whether to log them.

        A callback that calls this is watched from then on; from another thread, the next one is.

        Raises:
            TypeError: the threshold is not a number.
            ValueError: the threshold is not positive, or not finite.
            RuntimeError: the loop is closed.
        """
        self._check_closed()
        if threshold is not None:
            given: Any = threshold
            if isinstance(given, bool) or not isinstance(given, numbers.Real):
                text = f"threshold must be a number of seconds or None, not {threshold!r}"
                raise TypeError(text)
            if not 0 < threshold <= sys.float_info.max:
                raise ValueError(f"threshold must be positive and finite, not {threshold!r}")
        self._counterpoint_loop.watch_stalls(threshold, bool(log), stalls, weakref.ref(self))
        if threshold is not None and self._thread_id == threading.get_ident():
            self._counterpoint_loop.watch_running(asyncio.current_task(self) or self)

    def statistics(self) -> LoopStatistics:
        """What it has done. From any thread.

        Returns:
            A record: what is counted always; and `lag`, `run_time`, `depth`, `asleep` and
            `utilisation` of those turns for which `measure()` was on.

        >>> loop = EventLoop()
        >>> loop.measure()
        >>> _ = loop.call_soon(loop.stop)
        >>> loop.run_forever()
        >>> loop.close()
        >>> seen = loop.statistics()
        >>> seen.turns, seen.callbacks, seen.run_time.count, seen.depth.max
        (1, 1, 1, 1)
        """
        native = self._counterpoint_loop
        return collect(None, native.meter(), native.gauges())

    def close(self) -> None:
        """Close the loop; the same as asyncio's.

        Raises:
            RuntimeError: it runs.
        """
        native = self._counterpoint_loop
        super().close()
        native.clear()

    def _callback_failed(self, handle: asyncio.Handle, exception: BaseException) -> None:
        """What a handle's callback raised goes to the exception handler, in asyncio's words."""
        inside: Any = handle
        more: Any = {"debug": self.get_debug()} if _TELLS_DEBUG else {}
        source = format_helpers._format_callback_source(
            inside._callback, inside._args or (), **more
        )
        context = {
            "message": f"Exception in callback {source}",
            "exception": exception,
            "handle": handle,
        }
        if inside._source_traceback:
            context["source_traceback"] = inside._source_traceback
        self.call_exception_handler(context)

    def _transport_failed(self, transport: object, exception: BaseException) -> None:
        """What a transport did not deal with itself goes to the exception handler."""
        self.call_exception_handler(
            {
                "message": "Fatal error on transport",
                "exception": exception,
                "transport": transport,
            }
        )

    def _callback_was_slow(self, what: object, seconds: float) -> None:
        if isinstance(what, asyncio.Handle):
            what = base_events._format_handle(what)  # type: ignore[attr-defined]
        logger.warning("Executing %s took %.3f seconds", what, seconds)


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


# Newer versions leave arguments out of the text unless in debug mode.
_TELLS_DEBUG = "debug" in format_helpers._format_callback_source.__code__.co_varnames

_install.loop_imported()


def _give_back(wakeup_fd: int) -> bool:
    """Let somebody else's descriptor be woken by signals again; whether it could be."""
    try:
        # Whether it is to warn cannot be asked for: rather not, than where nobody expects it.
        signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)
    except (ValueError, OSError):
        return False  # it is closed, or would block
    return True
