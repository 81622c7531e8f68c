"""Rules for faults of a `TestBroker`, and the links of its clients."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ferromqtt._checks import is_number, wrong_type
from ferromqtt.reasons import ReasonCode

if TYPE_CHECKING:
    from ferromqtt._native import Broker

Duration: TypeAlias = float | str
"""Seconds, or a text with a unit: `"3s"`, `"50ms"`, `"2m"`."""

_LONGEST = 1e8
"""Seconds: the core takes 10,000 days at most."""

_DURATION = r"[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d)"

UNSET: Any = object()
"""Stands for a field that does not matter, where None may be meant."""


class PacketKind(enum.IntEnum):
    """The types of packets, with the standard's names and numbers."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


def kind_of(kind: int | None) -> PacketKind | None:
    """Return the type of packet with this number; None stays None, for packets of any type."""
    if kind is None:
        return None
    if not isinstance(kind, int) or isinstance(kind, bool):
        raise wrong_type("kind", "a PacketKind or None", kind)
    try:
        return PacketKind(kind)
    except ValueError:
        raise ValueError(f"kind must be a PacketKind, not {kind}") from None


def duration_text(name: str, duration: Duration) -> str:
    """Return a duration as the core reads it, to the nanosecond."""
    if isinstance(duration, str):
        if not re.fullmatch(_DURATION, duration):
            raise ValueError(f"{duration!r} is no duration such as '3s' or '50ms'")
        return duration
    if not is_number(duration):
        raise wrong_type(name, "a number of seconds, or a str such as '3s'", duration)
    if not 0 <= duration <= _LONGEST:
        raise ValueError(f"{name} must be from 0 to {_LONGEST:e} seconds, not {duration}")
    return f"{round(duration * 1e9)}ns"


def text_of(name: str, text: str) -> str:
    """Return a text in quotation marks, as a rule has it."""
    if not isinstance(text, str):
        raise wrong_type(name, "str", text)
    shown = "".join(
        f"\\{letter}"
        if letter in '"\\'
        else f"\\u{{{ord(letter):x}}}"
        if letter < " " or "\x7f" <= letter < "\xa0"
        else letter
        for letter in text
    )
    return f'"{shown}"'


def count_text(name: str, count: int) -> str:
    """Return a number that is none below zero."""
    if not isinstance(count, int) or isinstance(count, bool):
        raise wrong_type(name, "int", count)
    if count < 0:
        raise ValueError(f"{name} must not be negative")
    return str(count)


def code_text(reason: int | ReasonCode) -> str:
    """Return a Reason Code as a rule has it."""
    code = reason.value if isinstance(reason, ReasonCode) else reason
    if not isinstance(code, int) or isinstance(code, bool):
        raise wrong_type("reason", "int or ReasonCode", reason)
    if not 0 <= code <= 0xFF:  # noqa: PLR2004 - a byte
        raise ValueError(f"reason must be in the range 0-255, not {code}")
    return f"0x{code:02X}"


class Fault:
    """A rule for faults, from `TestBroker.sends` or `TestBroker.receives`: where, when and what.

    The broker has the rule from its first action on (`lose`, `delay` and so on), and each further
    word changes it there. Each packet is held against the rules in the order in which they were
    added. Every rule counts the packets that match it; the first whose turn it is acts on the
    packet, and those behind it keep their turn for the next one.

    ```python
    broker.sends(PUBACK).nth(3).lose().cut()
    held = broker.receives(PUBLISH, topic="jobs/#").hold()
    ...
    held.release()
    ```

    Every word raises a ValueError when the rule makes no sense with it, and a TypeError when an
    argument has the wrong type.
    """

    def __init__(self, call: Callable[[], Broker], flush: Callable[[], None], place: str) -> None:
        self._call = call
        self._flush = flush
        self._place = place
        self._timing: dict[str, str] = {}
        self._actions: list[str] = []
        self._broker: Broker | None = None
        self._number = 0

    def nth(self, nth: int) -> Self:
        """Begin with packet number `nth` of those that match. Default: 1."""
        return self._when("nth", count_text("nth", nth))

    def times(self, times: int) -> Self:
        """Fire so many times. Default: 1, and with a probability at every packet."""
        return self._when("times", count_text("times", times))

    def always(self) -> Self:
        """Fire at every packet."""
        return self._when("times", None)

    def after(self, time: Duration) -> Self:
        """Ignore packets that come earlier than this after the rule was made."""
        return self._when("after", duration_text("after", time))

    def with_probability(self, probability: float) -> Self:
        """Fire with this probability, from 0 to 1, drawn from the broker's seed."""
        if not is_number(probability):
            raise wrong_type("probability", "a number from 0 to 1", probability)
        return self._when("with_probability", f"{probability:.17f}")

    def optional(self) -> Self:
        """Let the rule end unused: `TestBroker.unused_faults` leaves it out."""
        return self._when("optional", None)

    def lose(self) -> Self:
        """Lose the packet: neither side is told."""
        return self._do("lose")

    def duplicate(self, *, dup: bool = True, after: Duration = 0) -> Self:
        """Let the packet arrive twice, the second time `after` the first, with DUP or without."""
        again = "" if dup else " without_dup"
        return self._do(f"duplicate{again} after {duration_text('after', after)}")

    def delay(self, time: Duration) -> Self:
        """Let the packet arrive later.

        Packets of its own type wait behind it, so that MQTT's order is kept. Others go by, except
        that nothing overtakes CONNECT and CONNACK, and DISCONNECT overtakes nothing.
        """
        return self._do(f"delay {duration_text('delay', time)}")

    def hold(self) -> Self:
        """Hold the packet, as `delay` does, until `release` is called."""
        return self._do("hold")

    def reorder(self, *, with_next: int = 1) -> Self:
        """Let the next packets of its type overtake the packet, which breaks MQTT's order."""
        return self._do(f"reorder {count_text('with_next', with_next)}")

    def cut(
        self, *, before: bool = False, after_bytes: int | None = None, reset: bool = False
    ) -> Self:
        """Cut the link behind the packet, `before` it, or behind so many of its bytes.

        With `reset` the client sees a reset, as when the peer's process was killed.
        """
        if before and after_bytes is not None:
            raise ValueError("cut: before and after_bytes exclude each other")
        where = " before" if before else ""
        if after_bytes is not None:
            where = f" after_bytes {count_text('after_bytes', after_bytes)}"
        return self._do(f"cut{where}{' reset' if reset else ''}")

    def refuse(self, reason: int | ReasonCode, text: str | None = None) -> Self:
        """Answer the packet with this Reason Code, and do not handle it.

        For CONNECT, PUBLISH, PUBREL, SUBSCRIBE and UNSUBSCRIBE that the broker receives. 3.x is
        answered what that version can say: CONNECT with a Return Code, SUBSCRIBE of 3.1.1 with
        Failure; otherwise the connection is closed. A PUBLISH of QoS 0 is lost.
        """
        why = "" if text is None else f" {text_of('text', text)}"
        return self._do(f"refuse {code_text(reason)}{why}")

    def replace(self, data: bytes) -> Self:
        """Let these bytes arrive in place of the packet."""
        if not isinstance(data, bytes):
            raise wrong_type("data", "bytes", data)
        return self._do(f"replace 0x{data.hex()}")

    def garbage(self, count: int) -> Self:
        """Let so many random bytes arrive in place of the packet."""
        return self._do(f"garbage {count_text('count', count)}")

    def truncate(self, count: int) -> Self:
        """Let only so many bytes of the packet arrive, and the next packet behind them."""
        return self._do(f"truncate {count_text('count', count)}")

    def disconnect(self, reason: int | ReasonCode) -> Self:
        """Send DISCONNECT in place of the packet, or of handling it, and close the connection."""
        return self._do(f"disconnect {code_text(reason)}")

    @property
    def fired(self) -> int:
        """How often it has fired."""
        return self._broker.fault_fired(self._number) if self._broker else 0

    def release(self) -> int:
        """Let the packets go that it holds; returns how many."""
        released = self._broker.release_fault(self._number) if self._broker else 0
        self._flush()
        return released

    def remove(self) -> None:
        """Take the rule away, and let go what it holds."""
        if self._broker:
            self._broker.remove_fault(self._number)
            self._flush()

    def has_action(self) -> bool:
        """Whether an action was given, so that the broker has the rule."""
        return bool(self._actions)

    def __str__(self) -> str:
        timing = "".join(f" {word}" for word in self._timing_words())
        actions = ", ".join(self._actions)
        return f"{self._place}{timing} {actions}".rstrip()

    def __repr__(self) -> str:
        # Not the bytes of `replace`, which may be a payload.
        words = [
            word.split(" 0x")[0] if word.startswith("replace") else word for word in self._actions
        ]
        return f"<{type(self).__name__} {self._place} {', '.join(words)}>"

    def _timing_words(self) -> list[str]:
        return list(self._timing.values())

    def _when(self, word: str, value: str | None) -> Self:
        shown = "always" if word == "times" and value is None else word
        before = dict(self._timing)
        said = shown if value is None else f"{shown} {value}"
        earlier = before.get(word)
        if word == "times" and earlier and "always" in (earlier, said) and earlier != said:
            raise ValueError(
                f"{earlier} and {said} contradict each other in one fault rule: make two rules of "
                "them, or leave one out"
            )
        self._timing[word] = said
        try:
            self._install()
        except ValueError:
            self._timing = before
            raise
        return self

    def _do(self, action: str) -> Self:
        self._actions.append(action)
        try:
            self._install()
        except ValueError:
            self._actions.pop()
            raise
        return self

    def _install(self) -> None:
        if not self._actions:
            return
        if self._broker is None:
            broker = self._call()
            self._number = broker.add_fault(str(self))
            self._broker = broker
        else:
            self._broker.change_fault(self._number, str(self))
        self._flush()


_DIRECTIONS = {"in": False, "out": True}


def _sends(direction: str) -> bool:
    try:
        return _DIRECTIONS[direction]
    except (KeyError, TypeError):
        raise ValueError(f"direction must be 'in' or 'out', not {direction!r}") from None


class Link:
    """The link of a client, from `TestBroker.link`: what the network does to it from now on.

    Every verb raises a LookupError when no client with this Client Identifier has a link.
    """

    def __init__(self, call: Callable[[], Broker], flush: Callable[[], None], client: str) -> None:
        self._call = call
        self._flush = flush
        self._client = client

    def cut(self, *, reset: bool = False) -> None:
        """End the link at once: what was on its way is lost, and the will is published."""
        self._change(lambda broker: broker.cut_link(self._client, reset))

    def half_open(self) -> None:
        """Let nothing pass any more, in either direction, and tell neither side."""
        self._change(lambda broker: broker.half_open_link(self._client))

    def stall(self, direction: str) -> None:
        """Stop what the broker receives ("in") or sends ("out"), without losing anything."""
        sends = _sends(direction)
        self._change(lambda broker: broker.stall_link(self._client, sends, True))

    def resume(self, direction: str) -> None:
        """Let a direction go on that was stalled."""
        sends = _sends(direction)
        self._change(lambda broker: broker.stall_link(self._client, sends, False))

    def rate(self, bytes_per_second: int | None) -> None:
        """Let so many bytes a second pass in each direction; None lifts the limit."""
        rate = bytes_per_second
        if rate is not None and (not isinstance(rate, int) or isinstance(rate, bool)):
            raise wrong_type("bytes_per_second", "int or None", rate)
        if rate is not None and not 0 < rate < 1 << 32:
            raise ValueError("bytes_per_second must be at least 1 and fit into 32 bits")
        self._change(lambda broker: broker.limit_link(self._client, rate or 0))

    def latency(self, latency: Duration, jitter: Duration = 0) -> None:
        """Let what is sent take so long in each direction, `jitter` more or less; order is kept."""
        mean, spread = duration_text("latency", latency), duration_text("jitter", jitter)
        self._change(lambda broker: broker.slow_link(self._client, mean, spread))

    def cut_after(self, count: int, direction: str = "out") -> None:
        """Cut the link behind the next `count` bytes of one direction."""
        count_text("count", count)
        sends = _sends(direction)
        self._change(lambda broker: broker.cut_link_after(self._client, sends, count))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._client!r}>"

    def _change(self, change: Callable[[Broker], bool]) -> None:
        broker = self._call()
        if not change(broker):
            others = broker.linked_clients()
            raise LookupError(
                f"No client {self._client!r} is connected to the test broker; those that are: "
                f"{others}"
            )
        self._flush()
