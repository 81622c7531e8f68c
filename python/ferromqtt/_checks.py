"""Checks of the options of a client by their types, and what errors say about them.

An error names the option, then what it must be, then what was given. Where aiomqtt has a text of
its own for it, that comes first.
"""

from __future__ import annotations

import operator
import os
import sys
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ferromqtt._client_options import ClientOptions


def wrong_type(what: str, must_be: str, given: object) -> TypeError:
    """Return the error for an option of the wrong type."""
    name = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
    return TypeError(f"{what} must be {must_be}, not {name}")


def _is_int(value: object) -> bool:
    return hasattr(type(value), "__index__")


def is_count(value: object) -> bool:
    return _is_int(value) and not isinstance(value, bool)


def check_number(name: str, value: int, *, least: int) -> None:
    """Raise for what is no whole number, or less than that."""
    if not is_count(value):
        raise wrong_type(name, "int", value)
    if value < least:
        raise ValueError(f"{name} must be {least} or more, not {value}")


def is_number(value: object) -> bool:
    return hasattr(type(value), "__float__") or _is_int(value)


def _has(*names: str) -> Callable[[object], bool]:
    # By attributes, so that classes of another library and of the user's will do.
    return lambda value: all(hasattr(value, name) for name in names)


def _is(*classes: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, classes)


def _has_properties(value: object) -> bool:
    return not isinstance(value, str | bytes | int | float | list | tuple | set)


def _is_list(value: object) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | Mapping)


_STR, _INT, _FLAG = ("str", _is(str)), ("int", is_count), ("bool", _is_int)
_OPTIONS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "hostname": _STR,
    "port": _INT,
    "username": _STR,
    "password": ("str or bytes", _is(str, bytes, bytearray)),
    "identifier": _STR,
    "will": ("a Will", _has("topic", "payload", "qos", "retain", "properties")),
    "clean_session": _FLAG,
    "transport": _STR,
    "keepalive": _INT,
    "bind_address": _STR,
    "bind_port": _INT,
    "clean_start": ("True, False or 3", _is_int),
    "max_queued_incoming_messages": _INT,
    "max_inflight_messages": _INT,
    "properties": ("Properties or a dict", _has_properties),
    "tls_context": ("an ssl.SSLContext", _has("wrap_bio", "check_hostname")),
    "tls_params": ("TLSParameters", _has("ca_certs", "certfile", "keyfile", "cert_reqs")),
    "tls_insecure": _FLAG,
    "proxy": ("ProxySettings", _has("proxy_args")),
    "websocket_path": _STR,
    "websocket_headers": ("a dict or a function", lambda it: callable(it) or hasattr(it, "items")),
    "strict": _FLAG,
    "maximum_non_publish_size": _INT,
    "tls_server_hostname": _STR,
    "session_expiry_at_disconnect": _INT,
    "topic_aliases": ("True, False or a number", _is_int),
    "servers": ("a list of servers", _is_list),
    "outgoing_queue": ("an OutgoingQueue", _has("maxsize", "maxbytes", "overflow")),
    "outbox": ("an Outbox", _has("path", "maxsize", "native_sync")),
    "profile": _STR,
    "record": ("a path", _is(str, os.PathLike)),
    "record_payloads": _FLAG,
}
_NEVER_NONE = {"port", "keepalive", "bind_port", "transport", "maximum_non_publish_size"}
_CLIENT: dict[str, tuple[str, Callable[[object], bool]]] = {
    "logger": ("a logging.Logger", _has("warning")),
    "queue_type": ("a class like asyncio.Queue", callable),
    "timeout": ("a number of seconds", is_number),
    "max_concurrent_outgoing_calls": _INT,
    "will_on_error": _FLAG,
    "authenticator": ("a function", callable),
    "credentials": ("a function", callable),
    "manual_ack": _FLAG,
}


def letters(name: str) -> str:
    """Return a name without what tells its spellings apart: `Content Type`, `content_type`."""
    return name.replace(" ", "").replace("_", "").lower()


def nearest(name: str, names: Mapping[str, str]) -> str | None:
    """Return the one of `names`, by their `letters`, that `name` is likely to mean."""
    import difflib  # noqa: PLC0415 - slow to import, and only errors need it

    found = difflib.get_close_matches(letters(name), names, n=1)
    return names[found[0]] if found else None


def check_bounds(
    what: str, maxsize: object, maxbytes: object, overflow: object, overflows: Collection[str]
) -> None:
    """Check the bounds of a queue, and what happens to a message that would exceed them."""
    for name, value in (("maxsize", maxsize), ("maxbytes", maxbytes)):
        if value is None:
            continue
        if not is_count(value):
            raise wrong_type(f"{what}: {name}", "int or None", value)
        if int(value) < 1:  # type: ignore[call-overload]  # a count
            raise ValueError(f"{what}: {name} must be 1 or more, or None, not {value}.")
    if not isinstance(overflow, str):
        raise wrong_type(f"{what}: overflow", "str", overflow)
    if overflow not in overflows:
        must_be = '"wait", "drop_oldest", "drop_newest" or "fail"'
        raise ValueError(f"{what}: overflow must be {must_be}, not {overflow!r}.")


def check_types(options: ClientOptions) -> None:
    """Raise TypeError for an option of the wrong type. None mostly stands for the default.

    What stands for a whole number, as those of NumPy do, becomes an int.
    """
    for name, (must_be, is_right) in _OPTIONS.items():
        value = getattr(options, name)
        if value is None and name not in _NEVER_NONE:
            continue
        if not is_right(value):
            raise wrong_type(name, must_be, value)
        if is_right in (_is_int, is_count) and not isinstance(value, int):
            setattr(options, name, operator.index(value))


def check_arguments(**arguments: object) -> None:
    """Raise TypeError for an argument of `Client` that is no option of the connection."""
    for name, value in arguments.items():
        must_be, is_right = _CLIENT[name]
        if value is not None and not is_right(value):
            raise wrong_type(name, must_be, value)
        if name == "timeout" and value is not None:
            check_timeout(value)


def wrong_queue(queue_type: object, why: str) -> TypeError:
    """Return the error for a `queue_type` that makes no queues."""
    name = getattr(queue_type, "__name__", type(queue_type).__name__)
    return TypeError(f"queue_type must be a class like asyncio.Queue, not {name}{why}")


def check_timeout(timeout: Any) -> None:  # noqa: ANN401 - anything may be given
    """Raise for a time limit that is no number of seconds: 0 fails at once, infinity is none."""
    if not is_number(timeout):
        raise wrong_type("timeout", "a number of seconds", timeout)
    if not float(timeout) >= 0:  # nor NaN
        raise ValueError(
            f"timeout must be 0 or more seconds, not {timeout}. Give math.inf for no limit."
        )


def time_limit(timeout: float | None) -> float | None:
    """Return the time limit of an iterator; None for no limit.

    Raises:
        ValueError: It is negative or NaN.
        TypeError: It is no number.
    """
    if timeout is not None:
        check_timeout(timeout)
    return None if timeout is None or timeout > threading.TIMEOUT_MAX else float(timeout)


def socket_options(given: Any) -> tuple[Any, ...]:  # noqa: ANN401 - anything may be given
    """Return the arguments of `setsockopt` as a tuple.

    Raises:
        TypeError: They are not arguments that `setsockopt` has.
    """
    if given is None:
        return ()
    must_be = "a list of (level, option, value) tuples"
    if isinstance(given, str | bytes) or not hasattr(type(given), "__iter__"):
        raise wrong_type("socket_options", must_be, given)
    options = tuple(given)
    for option in options:
        if not isinstance(option, tuple | list):
            raise wrong_type("socket_options", must_be, option)
        match option:
            case (level, number, value) if isinstance(value, bytes | bytearray) or _is_int(value):
                numbers = [level, number]
            case (level, number, None, length):
                numbers = [level, number, length]
            case _:
                raise TypeError(f"socket_options must be {must_be}, not {option!r}")
        if not all(map(_is_int, numbers)):
            raise TypeError(f"socket_options must be {must_be}, not {option!r}")
    return options


def protocol_number(protocol: object) -> int:
    """Return the number of a protocol version: 3, 4 or 5.

    Raises:
        TypeError: `protocol` is no number.
        ValueError: It is another number.
    """
    must_be = '"auto", or ProtocolVersion.V31, V311 or V5 (3, 4 or 5)'
    if isinstance(protocol, str) and protocol in ("3", "4", "5"):
        raise TypeError(f"protocol must be {must_be}, not {protocol!r}")
    number = getattr(protocol, "value", protocol)
    if not isinstance(number, int) or isinstance(number, bool):
        raise wrong_type("protocol", must_be, protocol)
    if number not in (3, 4, 5):
        raise ValueError(f"protocol must be {must_be}, not {protocol!r}")
    return number


def check_threshold(threshold: object) -> None:
    """Raise TypeError or ValueError for a `pending_calls_threshold` that is no count."""
    if not hasattr(type(threshold), "__index__"):
        raise wrong_type("pending_calls_threshold", "int", threshold)
    count = operator.index(threshold)  # type: ignore[arg-type]
    if not 0 <= count <= sys.maxsize:
        must_be = f"in the range 0-{sys.maxsize}"
        given = count if abs(count) < 1 << 128 else "a larger number"
        raise ValueError(f"pending_calls_threshold must be {must_be}, not {given}.")


def check_qos(qos: object) -> int:
    """Return a QoS that is 0, 1 or 2; raise ValueError for anything else."""
    if not isinstance(qos, int) or qos not in (0, 1, 2):
        given = qos if isinstance(qos, int) else type(qos).__name__
        raise ValueError(f"Invalid QoS level. qos must be 0, 1 or 2, not {given}.")
    return int(qos)
