"""TLS: asyncio's protocol, of which the part that is done for each record is native."""

from __future__ import annotations

import types
from asyncio import base_events, sslproto
from collections.abc import Iterable
from typing import Any

from .native import Tls, TlsProtocolBase, TlsTransportBase
from .transport import SocketTransport, tell

__all__ = ["SSLProtocol", "SSLTransport", "start_tls"]

# Whether libssl's own functions are called, where that is possible; tests turn it off.
NATIVE = True


class SSLTransport(TlsTransportBase):
    """What the application writes to; the same as asyncio's, whose class it is derived from.

    What differs:
        `write()` encrypts at once, or keeps a copy of a bytearray or memoryview.
        `writelines()` joins what it is given, and so sends fewer records.
    """

    def __init__(self, loop: Any, ssl_protocol: SSLProtocol) -> None:
        self._counterpoint_tls = ssl_protocol._counterpoint_tls
        super().__init__(loop, ssl_protocol)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send all of it, in order."""
        self.write(b"".join(list_of_data))

    def _write_as_asyncio(self, data: Any) -> None:
        sslproto._SSLProtocolTransport.write(self, data)


class SSLProtocol(TlsProtocolBase):
    """What a socket transport gives to and an application gets from; derived from asyncio's.

    Ciphertext is received and decrypted in one step, without a buffer of the connection's own.

    What differs:
        A BufferedProtocol may have a bytearray for a buffer.
        A limit of 0 pauses only where something is buffered; asyncio's may pause for ever.
        What `pause_writing()` and `resume_writing()` raise ends the connection.
    """

    def __init__(self, loop: Any, app_protocol: Any, context: Any, *args: Any, **kw: Any) -> None:
        self._counterpoint_tls = Tls()
        # No buffer is made; get_buffer() makes one where it is needed.
        self.__dict__["max_size"] = 0
        try:
            super().__init__(loop, app_protocol, context, *args, **kw)
        finally:
            del self.__dict__["max_size"]
        if NATIVE and _is_plain(self._sslobj):
            self._counterpoint_tls.attach(
                self._sslobj._sslobj, self._incoming, self._outgoing, self._write_backlog
            )

    def _get_app_transport(self) -> Any:
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("Creating _SSLProtocolTransport twice")
            self._app_transport = SSLTransport(self._loop, self)
            self._app_transport_created = True
        return self._app_transport

    def _set_app_protocol(self, app_protocol: Any) -> None:
        super()._set_app_protocol(app_protocol)
        if self._app_protocol_is_buffer:
            # asyncio's code slices what it gets, which copies where it is a bytearray.
            get_buffer = self._app_protocol_get_buffer
            self._app_protocol_get_buffer = lambda hint: memoryview(get_buffer(hint)).cast("B")

    def _control_app_writing(self, context: Any = None) -> None:
        if self._app_transport is None:
            return  # it is lost
        size = self._get_write_buffer_size()
        if size and size >= self._outgoing_high_water and not self._app_writing_paused:
            self._app_writing_paused = True
            tell(self._app_transport, "pause_writing", self._end)
        elif size <= self._outgoing_low_water and self._app_writing_paused:
            self._app_writing_paused = False
            tell(self._app_transport, "resume_writing", self._end)

    def _control_ssl_reading(self) -> None:
        # Paused with nothing left to take, it would never be resumed.
        if self._get_read_buffer_size() or self._ssl_reading_paused:
            super()._control_ssl_reading()

    def _do_shutdown(self) -> None:
        super()._do_shutdown()
        # It takes what was left while the application had paused, and waits for more.
        if self._transport is not None:
            self._control_ssl_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport below has ended; what it has counted can be asked for still."""
        if isinstance(self._transport, SocketTransport):
            self._extra["statistics"] = self._transport.get_extra_info("statistics")
        super().connection_lost(exc)

    def _end(self, error: BaseException) -> None:
        if self._transport is not None:
            self._transport._force_close(error)

    def _read_soon(self) -> None:
        self._loop.call_soon(self._do_read)

    def _advance(self) -> None:
        """Go on with what has come, in whatever state this is."""
        self.buffer_updated(0)

    def _do_read_as_asyncio(self) -> None:
        try:
            sslproto.SSLProtocol._do_read(self)  # type: ignore[attr-defined]
        except BaseException:
            # Ctrl-C, or an exit. What has come already is for when the loop is run again, and so
            # is the end of a pause.
            if self._transport is not None and (self._incoming.pending or self._ssl_reading_paused):
                self._read_soon()
            raise


def _is_plain(sslobj: Any) -> bool:
    """Whether nobody wants to see each read and write, or each message of the handshake."""
    if type(sslobj) is not sslproto.ssl.SSLObject:  # type: ignore[attr-defined]
        return False
    context = sslobj.context
    return bool(context._msg_callback is None and context.keylog_filename is None)


# asyncio's own, in the version of this interpreter, which makes a protocol of our class.
start_tls: Any = types.FunctionType(
    base_events.BaseEventLoop.start_tls.__code__,
    {**vars(base_events), "sslproto": types.SimpleNamespace(SSLProtocol=SSLProtocol)},
    "start_tls",
)
start_tls.__kwdefaults__ = base_events.BaseEventLoop.start_tls.__kwdefaults__
start_tls.__doc__ = base_events.BaseEventLoop.start_tls.__doc__
