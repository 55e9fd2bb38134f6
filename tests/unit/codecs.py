"""Both ends of the process pool's codec, for its tests."""

from __future__ import annotations

from typing import Any

from counterpoint._core import _Codec


def collect(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def there_and_back(value: Any) -> Any:
    codec = _Codec()
    return codec.decode_result(*codec.encode_result(value))


# The tag of a result that is pickled.
PICKLE = 34


def is_written(value: Any) -> bool:
    """Whether it needs no pickle."""
    return _Codec().encode_result(value)[0][0] != PICKLE


def through(codec: _Codec, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Makes a call at the other end."""
    record, buffers = codec.encode_call(function, args, kwargs)
    number = codec.intern(function)
    if number is not None:
        definition = codec.definition(number)
        assert definition is not None
        codec.define(number, definition)
    return codec.call(record, buffers)
