"""Blocking calls that a signal handler interrupts, at each place where Python runs one."""

import dis
import functools
import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest

from ferromqtt import (
    MqttError,
    ProtocolVersion,
    _blocking_calls,
    _blocking_publishing,
    _blocking_responder,
    _blocking_subscription,
    _loop_thread,
    blocking,
)
from ferromqtt.blocking import Client
from ferromqtt.testing import TestBroker

FILES = {
    *(it.__file__ for it in (blocking, _loop_thread, _blocking_calls, _blocking_publishing)),
    *(it.__file__ for it in (_blocking_responder, _blocking_subscription)),
}
MANY = 2_000
"""More places than any of the calls has in these files."""


class InterruptionError(BaseException):
    """Takes the place of what a signal handler raises."""


class Interruption:
    """Raises at the place with this number, of those that this thread passes in the client's files.

    They are the places at which CPython runs signal handlers: where a function begins, behind a
    call, and where a loop goes back.
    """

    def __init__(self, number: int) -> None:
        self._left = number
        self.has_come = False

    def __enter__(self) -> None:
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and is_place(frame.f_code, frame.f_lasti):
            self._left -= 1
            if self._left < 0:
                self.has_come = True
                sys.settrace(None)
                raise InterruptionError
        return self._trace


@functools.cache
def places_of(code: CodeType) -> frozenset[int]:
    found = set()
    behind = "RESUME"
    for instruction in dis.get_instructions(code):
        if behind.startswith(("CALL", "RESUME")) or instruction.opname.startswith("JUMP_BACKWARD"):
            found.add(instruction.offset)
        behind = instruction.opname
    return frozenset(found)


def is_place(code: CodeType, offset: int) -> bool:
    """Whether a signal handler may run before the instruction at this offset."""
    return offset in places_of(code)


def take_one(client: Client) -> None:
    client.publish("a", qos=1)
    next(client.messages(timeout=5))


def own_subscription(client: Client) -> None:
    with client.subscription("own", qos=1) as messages:
        client.publish("own", qos=1)
        next(messages)
        messages.unsubscribe()


def own_responder(client: Client) -> None:
    with client.responder("own", qos=1) as requests:
        client.publish("own", response_topic="a", qos=1)
        next(requests).respond("b")


CALLS: dict[str, Callable[[Client], object]] = {
    "publish at QoS 0": lambda client: client.publish("b"),
    "publish at QoS 1": lambda client: client.publish("b", qos=1),
    "publish_many": lambda client: client.publish_many([("b", "x", 1)]),
    "enqueue": lambda client: client.enqueue("b", qos=1).wait(),
    "publish_nowait": lambda client: client.publish_nowait("b", qos=1),
    "subscribe": lambda client: client.subscribe("c"),
    "unsubscribe": lambda client: client.unsubscribe("c"),
    "subscription": own_subscription,
    "responder": own_responder,
    "messages": take_one,
    "events": lambda client: next(client.events(timeout=5)),
    "wait_connected": lambda client: client.wait_connected(),
}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(TestBroker(listen=False), protocol=ProtocolVersion.V5) as client:
        client.subscribe("a", qos=1)
        yield client


def interrupt_everywhere(call: Callable[[], object]) -> int:
    """Interrupt a call at each place. Return how many there are."""
    for number in range(MANY):
        interruption = Interruption(number)
        try:
            with interruption:
                call()
        except InterruptionError:
            continue
        except MqttError:
            assert interruption.has_come, number
            continue
        if not interruption.has_come:
            return number
    message = f"the call has more than {MANY} places"
    raise AssertionError(message)


@pytest.mark.parametrize("name", CALLS)
def test_no_coroutine_is_left_behind_wherever_a_call_is_interrupted(
    client: Client, name: str
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        places = interrupt_everywhere(lambda: CALLS[name](client))
        gc.collect()
    assert [str(it.message) for it in caught] == []
    assert places > 5
    # The client goes on.
    client.publish("a", qos=1)
    client.subscribe("d")


def test_no_coroutine_is_left_behind_outside_of_the_block() -> None:
    client = Client(TestBroker(listen=False), protocol=ProtocolVersion.V5)

    def publish() -> None:
        with pytest.raises(MqttError):
            client.publish("a", qos=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        interrupt_everywhere(publish)
        gc.collect()
    assert [str(it.message) for it in caught] == []
