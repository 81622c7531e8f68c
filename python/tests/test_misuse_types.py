"""Subclassing, copying, pickling and collecting the types made by hand."""

import asyncio
import copy
import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ferromqtt
from ferromqtt import Client, Message, MessagesIterator, _native
from ferromqtt._driver import Protocol
from ferromqtt._internals import internals_of
from ferromqtt._link import Link
from ferromqtt._native import Broker, Core
from support.loops import LoopRunner
from test_misuse_protocol import Wire

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)  # before 2, Python itself refuses slots
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {number}": lambda thing, number=number: pickle.loads(pickle.dumps(thing, number))
        for number in PROTOCOLS
    },
}


def plain(payload: object = b"payload") -> Message:
    return Message("a/b", payload, 1, True, 7, None)


class Noted(Message):
    """Has attributes of its own, as any class of Python's."""

    note: str


class Slotted(Message):
    """Keeps its attribute in a slot."""

    __slots__ = ("note",)
    note: str


class Initialized(Message):
    """Is made of other arguments, by `__init__`, as a subclass of aiomqtt's can be."""

    def __init__(self, number: int) -> None:
        super().__init__("numbers", b"%d" % number, 0, False, 0, None)


def properties() -> ferromqtt.Properties:
    made = ferromqtt.Properties(ferromqtt.PacketTypes.PUBLISH)
    made.UserProperty = [("name", "value")]
    return made


PUBLIC: dict[str, Callable[[], object]] = {
    "Message": plain,
    "Topic": lambda: ferromqtt.Topic("a"),
    "Wildcard": lambda: ferromqtt.Wildcard("a/#"),
    "Will": lambda: ferromqtt.Will("a", b"gone"),
    "TLSParameters": lambda: ferromqtt.TLSParameters(ca_certs="file"),
    "ProxySettings": lambda: ferromqtt.ProxySettings(proxy_type=2, proxy_addr="localhost"),
    "ProtocolVersion": lambda: ferromqtt.ProtocolVersion.V5,
    "Properties": properties,
    "SubscribeOptions": lambda: ferromqtt.SubscribeOptions(qos=1),
    "ReasonCode": lambda: ferromqtt.ReasonCode(ferromqtt.PacketTypes.SUBACK, identifier=1),
    "MqttError": lambda: ferromqtt.MqttError("text"),
    "MqttCodeError": lambda: ferromqtt.MqttCodeError(4, "Could not publish message"),
    "MqttConnectError": lambda: ferromqtt.MqttConnectError(5),
    "MqttReentrantError": lambda: ferromqtt.MqttReentrantError("text"),
    "MqttTimeoutError": lambda: ferromqtt.MqttTimeoutError(),  # noqa: PLW0108  as the others
}


def comparable(thing: object) -> object:
    """Whatever tells two of these apart."""
    if isinstance(thing, Message):
        return [getattr(thing, name) for name in ("topic", "payload", "qos", "retain", "mid")]
    if isinstance(thing, BaseException):
        return str(thing), vars(thing)
    return getattr(thing, "__dict__", None) or str(thing)


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("how", COPIES)
def test_what_is_public_and_a_value_can_be_copied(name: str, how: str) -> None:
    thing = PUBLIC[name]()
    other = COPIES[how](thing)
    assert type(other) is type(thing)
    assert comparable(other) == comparable(thing)


@pytest.mark.parametrize("how", COPIES)
def test_attributes_of_a_subclass_are_copied_too(how: str) -> None:
    message = Noted("a", b"payload", 0, False, 0, None)
    message.note = "mine"
    other = COPIES[how](message)
    assert type(other) is Noted
    assert (other.note, other.payload) == ("mine", b"payload")


@pytest.mark.parametrize("how", COPIES)
def test_slots_of_a_subclass_are_copied_too(how: str) -> None:
    message = Slotted("a", b"payload", 0, False, 0, None)
    message.note = "mine"
    assert COPIES[how](message).note == "mine"


@pytest.mark.parametrize("how", COPIES)
def test_a_subclass_that_is_made_of_other_arguments_can_be_copied(how: str) -> None:
    assert COPIES[how](Initialized(5)).payload == b"5"


def test_a_subclass_may_have_an_init_of_other_arguments() -> None:
    assert Initialized(5).payload == b"5"


def test_only_a_subclass_takes_further_attributes() -> None:
    message: Any = plain()
    with pytest.raises(AttributeError):
        message.seen = True
    noted: Any = Noted("a", b"payload", 0, False, 0, None)
    noted.seen = True
    assert copy.copy(noted).seen


def test_a_message_that_holds_itself_can_be_copied_deeply() -> None:
    message = plain([])
    message.payload.append(message)
    other = copy.deepcopy(message)
    assert other.payload[0] is other


def clients_own_things() -> Iterator[tuple[str, object]]:
    client = Client("localhost")
    yield "Client", client
    yield "MessagesIterator", client.messages
    yield "NextMessage", anext(client.messages)
    yield "Protocol", internals_of(client).core
    yield "Core", Core(1)
    yield "Broker", Broker()
    link = Link(internals_of(client).core)
    yield "Link", link
    yield "native Link", _native.Link(Core(1))
    yield "EventReader", internals_of(client).core.read_events()
    view = link.get_buffer(-1)
    yield "ReadBuffer", view.obj


def test_what_belongs_to_a_connection_can_be_neither_pickled_nor_copied(run: LoopRunner) -> None:
    async def main() -> None:
        for name, thing in clients_own_things():
            for how, make in COPIES.items():
                if (name, how) == ("Client", "copy"):
                    continue  # shares everything, as a shallow copy does
                with pytest.raises((TypeError, pickle.PicklingError)):
                    make(thing)

    run(main)


def test_no_object_comes_about_past_its_constructor(run: LoopRunner) -> None:
    async def main() -> None:
        for name, thing in clients_own_things():
            if name == "Client":
                continue
            with pytest.raises(TypeError):
                object.__new__(type(thing))
            if name in ("MessagesIterator", "NextMessage", "ReadBuffer"):
                with pytest.raises(TypeError):
                    type(thing)()
        with pytest.raises(TypeError):
            object.__new__(Message)

    run(main)


def test_no_object_becomes_one_of_another_class(run: LoopRunner) -> None:
    async def main() -> None:
        things = [thing for name, thing in clients_own_things() if name != "Client"]
        things += [plain(), Noted("a", b"", 0, False, 0, None)]
        for one in things:
            for other in things:
                if type(one) is type(other):
                    continue
                with pytest.raises(TypeError):
                    one.__class__ = type(other)

    run(main)


@pytest.mark.parametrize("final", ["MessagesIterator", "NextMessage", "ReadBuffer", "Broker"])
def test_classes_that_are_not_made_for_it_refuse_to_be_subclassed(
    run: LoopRunner, final: str
) -> None:
    async def main() -> None:
        classes = {name: type(thing) for name, thing in clients_own_things()}
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Sub", (classes[final],), {})

    run(main)


def test_classes_cannot_be_mixed_into_one() -> None:
    for bases in (
        (Message, Core),
        (Message, MessagesIterator),
        (Protocol, Message),
        (Message, int),
    ):
        with pytest.raises(TypeError):
            type("Mixed", bases, {})


def test_subclasses_of_all_kinds_come_and_go(run: LoopRunner) -> None:
    """Their instances are laid out in another way: none may get the memory of another kind."""

    class WithFinalizer(Message):
        gone = 0

        def __del__(self) -> None:
            WithFinalizer.gone += 1

    async def main() -> None:
        wire = Wire()
        await wire.connect()
        for number in range(300):
            kept: list[Message] = []
            for kind in (Message, Noted, Slotted, WithFinalizer):
                kept += [kind("a", b"%d" % number, 0, False, 0, None) for _ in range(3)]
                wire.message(b"%d" % number)
                kept.append(await anext(wire.client.messages))
            for message in kept:
                assert message.payload == b"%d" % number
                if not isinstance(message, Slotted) and type(message) is not Message:
                    message.note = "x"  # type: ignore[attr-defined]
        wire.lose()

    run(main)
    gc.collect()
    assert WithFinalizer.gone == 900


def test_weak_references_to_everything_die_with_it(run: LoopRunner) -> None:
    async def main() -> list[weakref.ref[Any]]:
        wire = Wire()
        await wire.connect()
        wire.message(b"a")
        iterator = wire.client.messages
        message = await anext(iterator)
        wire.lose()
        things = [wire.client, wire.core, iterator, message, Noted("a", b"", 0, False, 0, None)]
        references = [weakref.ref(thing) for thing in things]
        assert all(reference() is not None for reference in references)
        with pytest.raises(TypeError, match="weak reference"):
            weakref.ref(anext(iterator))
        return references

    references = run(main)
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)


def test_a_weak_reference_callback_may_use_what_is_left(run: LoopRunner) -> None:
    async def main() -> None:
        wire = Wire()
        await wire.connect()
        seen: list[int] = []
        for number in range(10):
            wire.message(b"%d" % number)
            message = await anext(wire.client.messages)
            _ = weakref.ref(message, lambda _: seen.append(len(wire.client.messages)))
            keep = weakref.ref(message, lambda _: wire.message(b"more"))
            del message
            assert keep() is None
        assert len(wire.client.messages) == 10
        wire.lose()

    run(main)


FIELDS = ("topic", "payload", "qos", "retain", "mid", "properties")


@pytest.mark.parametrize("field", FIELDS)
def test_a_cycle_through_any_field_of_a_message_is_collected(field: str) -> None:
    class Holder:
        message: Message

    holder = Holder()
    message = plain()
    setattr(message, field, holder)
    assert getattr(message, field) is holder
    holder.message = message
    gone = weakref.ref(holder)
    del message, holder
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("field", FIELDS)
def test_what_a_field_held_may_use_the_message_as_it_goes(field: str) -> None:
    seen: list[object] = []

    class Curious:
        def __del__(self) -> None:
            seen.append(getattr(message, field))
            setattr(message, field, "set again")

    message = plain()
    setattr(message, field, Curious())
    setattr(message, field, "new")
    assert seen == ["new"]
    assert getattr(message, field) == "set again"


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "properties"])
def test_a_field_that_is_deleted_is_no_attribute_until_it_is_set(field: str) -> None:
    """As of aiomqtt's messages, which are plain objects."""
    message = plain()
    delattr(message, field)
    for use in (lambda: getattr(message, field), lambda: delattr(message, field)):
        with pytest.raises(AttributeError, match=field):
            use()
    with pytest.raises(AttributeError, match=field):
        pickle.dumps(message)
    if field == "mid":
        with pytest.raises(AttributeError, match=field):
            _ = message < plain()
    gc.collect()
    setattr(message, field, "set again")
    assert getattr(message, field) == "set again"


def test_the_properties_of_a_message_are_not_deleted() -> None:
    message = plain()
    message.properties = None
    with pytest.raises((AttributeError, TypeError)):
        del message.properties
    assert message.properties is None


def test_finalizers_in_a_cycle_see_whole_messages() -> None:
    seen: list[object] = []

    class Curious:
        message: Message

        def __del__(self) -> None:
            seen.append([getattr(self.message, field) for field in FIELDS[1:]])

    for _ in range(20):
        curious = Curious()
        curious.message = plain(curious)
        del curious
        gc.collect()
    assert len(seen) == 20


def test_a_cycle_through_an_iterator_is_collected(run: LoopRunner) -> None:
    """An application that keeps its client, an iterator and gives the client a method."""

    class Application:
        def __init__(self) -> None:
            self.client = Client("localhost", authenticator=self.answer)
            self.messages = self.client.messages

        def answer(self, data: bytes) -> bytes:
            return data

    async def main() -> weakref.ref[Application]:
        return weakref.ref(Application())

    gone = run(main)
    gc.collect()
    assert gone() is None


def test_a_cycle_through_a_step_is_collected(run: LoopRunner) -> None:
    class Application:
        def __init__(self) -> None:
            self.client = Client("localhost", authenticator=self.answer)
            for _ in range(3):
                anext(self.client.messages).close()  # comes back out of the free list
            self.step = anext(self.client.messages)

        def answer(self, data: bytes) -> bytes:
            return data

    async def main() -> weakref.ref[Application]:
        return weakref.ref(Application())

    gone = run(main)
    gc.collect()
    assert gone() is None


def test_comparing_messages_with_anything_raises_cleanly() -> None:
    class Hostile:
        def __lt__(self, other: object) -> bool:
            raise KeyError("compared")

    message = plain()
    for other in (None, 1, "a", Hostile()):
        with pytest.raises((TypeError, KeyError)):
            assert message < other  # type: ignore[operator]
    first, second = plain(), plain()
    first.mid = Hostile()  # type: ignore[assignment, misc]
    with pytest.raises(KeyError, match="compared"):
        assert first < second
    assert len({first, second, first}) == 2
    assert asyncio.iscoroutine(message) is False
    gone = weakref.ref(first)
    del first
    assert gone() is None  # no comparison has kept it
