"""What a worker tells beside its results: log records, and with them warnings.

A worker's root logger has one handler, which sends every record to the parent, where it is handled
by the logger of the same name: the program configures logging once, in its own process. Levels are
those that the parent had when the worker was launched, so what nobody wants is not sent. A worker
that configures handlers of its own (an initializer that calls `logging.config.dictConfig`) keeps
them.
"""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING, Any, TypeAlias

from counterpoint._core import Server

if TYPE_CHECKING:
    from counterpoint._worker.launch import Launcher

__all__ = ["Levels", "forward_logs", "hear", "levels", "tell_modules"]

Levels: TypeAlias = dict[str, int]

# The first byte of a message.
_RECORD, _MODULES = b"L", b"M"

# With what pickle adds to a record, less than a message may have.
_LONGEST = 40_000

_formatter = logging.Formatter()


def levels() -> Levels:
    """The levels that are set in this process, by the loggers' names; "" is the root."""
    known = list(logging.root.manager.loggerDict.items())
    own = {name: logger.level for name, logger in known if isinstance(logger, logging.Logger)}
    return {"": logging.root.level, **{name: level for name, level in own.items() if level}}


def forward_logs(server: Server, wanted: Levels) -> None:
    """Send this process's log records and warnings to its parent."""
    # A fork of the user's process has the handlers of that, which the parent uses itself.
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
    for name, level in wanted.items():
        logging.getLogger(name or None).setLevel(level)
    logging.root.addHandler(_Forwarder(server))
    logging.captureWarnings(True)


def tell_modules(server: Server, modules: list[str]) -> None:
    """Tell the parent what this worker has imported, for the next one to have."""
    try:
        # Between two tasks nothing may wait for a parent that is slow to listen.
        server.say(_MODULES + "\n".join(modules)[:_LONGEST].encode(), wait=False)
    except BlockingIOError:
        pass


def hear(content: bytes, launcher: Launcher) -> None:
    """In the parent: do what a worker's message is for."""
    kind, rest = content[:1], content[1:]
    if kind == _RECORD:
        _handle(logging.makeLogRecord(pickle.loads(rest)))
    elif kind == _MODULES:
        launcher.preload(rest.decode().split("\n"))


def _handle(record: logging.LogRecord) -> None:
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


class _Forwarder(logging.Handler):
    """Sends records; waits only if the parent's handlers are far behind."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._server.say(_RECORD + _pack(record))
        except (OSError, RecursionError):
            self.handleError(record)


def _pack(record: logging.LogRecord) -> bytes:
    fields = {**record.__dict__, "msg": _message(record), "args": None, "exc_info": None}
    if record.exc_info and not record.exc_text:
        fields["exc_text"] = _formatter.formatException(record.exc_info)
    # As text it may be too long, as may what `extra` added.
    for prepare in (_as_it_is, _as_text, _shortened):
        try:
            content = pickle.dumps(prepare(fields), 5)
        except Exception:
            continue
        if len(content) <= _LONGEST:
            return content
    return pickle.dumps({**_essence(fields), "msg": "a log record that cannot be sent"}, 5)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        # logging itself would print a traceback, where nobody may look.
        return f"{record.msg!r} with arguments {record.args!r} cannot be formatted: {error!r}"


def _as_it_is(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


def _as_text(fields: dict[str, Any]) -> dict[str, Any]:
    plain = (str, int, float, bool, type(None))
    return {key: value if type(value) in plain else str(value) for key, value in fields.items()}


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    texts = {key: str(fields[key]) for key in ("exc_text", "stack_info") if fields.get(key)}
    short = {**_essence(fields), "msg": fields["msg"], **texts}
    most = _LONGEST // 16
    return {
        key: _cut(value, most) if isinstance(value, str) else value for key, value in short.items()
    }


def _essence(fields: dict[str, Any]) -> dict[str, Any]:
    names = ("name", "levelname", "levelno", "pathname", "lineno", "created", "process")
    return {name: fields[name] for name in names if name in fields}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
