"""Subclasses may use every name that aiomqtt's client leaves free (contract 1.3)."""

import asyncio
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

import pytest

import ferromqtt
from conftest import Broker
from ferromqtt import Client
from ferromqtt._internals import internals_of
from support.clients import LIMIT, receive, unique
from support.loops import LoopRunner


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ORIGINAL = words(
    """
    identifier messages publish subscribe unsubscribe timeout pending_calls_threshold
    _bind_address _bind_port _clean_start _client _client_connect _connected _disconnected _hostname
    _keepalive _lock _logger _loop _misc_loop _misc_task _on_connect _on_disconnect _on_message
    _on_publish _on_socket_close _on_socket_open _on_socket_register_write
    _on_socket_unregister_write _on_subscribe _on_unsubscribe _outgoing_calls_sem _pending_call
    _pending_calls _pending_publishes _pending_subscribes _pending_unsubscribes _port _properties
    _queue _set_tls_params _socket_options _tls_insecure _tls_params _tls_params_set _wait_for
    """
)
"""What the client of aiomqtt 2.5.1 has, in its class and in its instances."""

ONCE_OURS = words(
    """
    _connect _core _core_options _default_logger_name _entered _make_outgoing_calls
    _max_outgoing_calls _native _options _outgoing_calls _publish _route _start_publish _time_limit
    _tls _use_queue _version _wait _was_entered _will_on_error
    """
)
"""Private names that our client had."""

ANNOUNCED = frozenset({"drain", "events", "state", "stats", "subscription"})
"""What the client is to get: public, and yet for subclasses to redefine."""


def names_of(client: object) -> set[str]:
    """Return the names that a client has, in its class, in bases of it and in itself."""
    return set(dir(type(client))) | set(vars(client))


def is_mangled(name: str) -> bool:
    return name.startswith("_FerromqttInternalsHolder__")


def free_names(client: Client) -> list[str]:
    """Return what a user may pick: ours, and what is next to it."""
    internals = internals_of(client)
    inner = names_of(internals) | names_of(internals.core)
    parameters = set(inspect.signature(type(client)).parameters)
    names = names_of(client) | ONCE_OURS | ANNOUNCED | inner | parameters
    names |= {f"_{name}" for name in inner | ANNOUNCED | parameters if not name.startswith("_")}
    dunder = {name for name in names if name.startswith("__") or is_mangled(name)}
    return sorted(names - ORIGINAL - dunder)


class Touched(AssertionError):  # noqa: N818 - what was done, not what went wrong
    """The client has used an attribute of the subclass."""


class Poison:
    """An attribute that cannot be used."""

    def __init__(self, name: str) -> None:
        self.__dict__["what"] = name

    def touch(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise Touched(self.__dict__["what"])

    __call__ = __getattr__ = __setattr__ = __bool__ = __len__ = __await__ = touch  # type: ignore[assignment]


Make = Callable[[type[Client], str], type[Client]]


def set_before(base: type[Client], name: str) -> type[Client]:
    class Before(base):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object, **kwargs: object) -> None:
            setattr(self, name, Poison(name))
            super().__init__(*args, **kwargs)

    return Before


def set_after(base: type[Client], name: str) -> type[Client]:
    class After(base):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            setattr(self, name, Poison(name))

    return After


def define_a_method(base: type[Client], name: str) -> type[Client]:
    def method(_self: object, *_args: object, **_kwargs: object) -> NoReturn:
        raise Touched(name)

    return type("Client", (base,), {name: method})


def define_a_property(base: type[Client], name: str) -> type[Client]:
    def get(_self: object) -> NoReturn:
        raise Touched(name)

    return type("Client", (base,), {name: property(get)})


WAYS: list[Make] = [set_before, set_after, define_a_method, define_a_property]


async def works(client: Client) -> None:
    """Enter, subscribe, publish, receive, unsubscribe and leave."""
    topic = unique("free")
    async with client:
        await client.subscribe(topic, qos=1)
        for qos in range(3):
            await client.publish(topic, str(qos), qos=qos)
            assert (await receive(client)).payload == str(qos).encode()
        await client.unsubscribe(topic)
        repr(client)
    with pytest.raises(ferromqtt.MqttError):
        await client.publish(topic)


@pytest.fixture(params=["ferromqtt", "aiomqtt"])
def base(request: pytest.FixtureRequest, shim: ModuleType) -> type[Client]:
    """The client's class under each module name."""
    chosen: type[Client] = {"ferromqtt": Client, "aiomqtt": shim.Client}[request.param]
    return chosen


@pytest.mark.parametrize("options", [{}, {"queue_type": asyncio.Queue}], ids=["", "queue"])
@pytest.mark.parametrize("way", WAYS)
def test_a_subclass_may_use_a_name_1_3(
    run: LoopRunner,
    in_memory: Broker,
    base: type[Client],
    way: Make,
    options: dict[str, Any],
) -> None:
    async def main() -> None:
        names = free_names(base("localhost"))
        assert set(names) >= ONCE_OURS | ANNOUNCED
        for name in names:
            client = way(base, name)(*in_memory.where, **options)
            try:
                await works(client)
            except BaseException as error:
                error.add_note(f"with a subclass's own {name!r}")
                raise

    run(main)


@pytest.mark.parametrize("slots", [None, 2])
def test_a_subclass_may_redefine_the_public_members_1_3(
    run: LoopRunner, in_memory: Broker, base: type[Client], slots: int | None
) -> None:
    """The client looks at none of them itself; to enter it has to know `timeout` alone."""

    class Redefined(base):  # type: ignore[misc, valid-type]
        publish = subscribe = unsubscribe = define_a_method(base, "a call").__dict__["a call"]
        messages = identifier = define_a_property(base, "a property").__dict__["a property"]

    async def main() -> None:
        topic = unique("redefined")
        me = unique("me")
        client = Redefined(*in_memory.where, identifier=me, max_concurrent_outgoing_calls=slots)
        async with asyncio.timeout(LIMIT), client:
            await base.subscribe(client, topic)
            await base.publish(client, topic, b"x")
            messages: Any = inspect.getattr_static(Client, "messages").__get__(client)
            assert (await anext(messages)).payload == b"x"
            await base.unsubscribe(client, topic)
            assert internals_of(client).options.identifier == me

    run(main)


def test_a_subclass_of_the_same_name_may_have_names_that_python_mangles_1_3(
    run: LoopRunner, in_memory: Broker, base: type[Client]
) -> None:
    def make() -> type[Client]:
        class Client(base):  # type: ignore[misc, valid-type]
            __core = __publish = __internals_class = Poison("mangled")

            def __init__(self, *args: object) -> None:
                self.__internals = self.__options = Poison("mangled")
                super().__init__(*args)
                self.__internals = self.__entered = Poison("mangled")

        return Client

    run(lambda: works(make()(*in_memory.where)))


def test_the_client_has_no_private_names_but_mangled_ones_1_3(
    shim: ModuleType,
) -> None:
    def private(client: Client) -> set[str]:
        names = {name for name in names_of(client) if name.startswith("_")}
        return {name for name in names if not name.startswith("__") and not is_mangled(name)}

    assert private(Client("localhost")) == set()
    assert private(shim.Client("localhost")) <= ORIGINAL


def test_public_additions_can_be_assigned_1_3(base: type[Client]) -> None:
    for name in set(dir(base)) - ORIGINAL:
        attribute = inspect.getattr_static(base, name)
        assert name.startswith("__") or not hasattr(attribute, "__set__"), name


def test_public_attributes_can_be_set_before_and_after_the_constructor_1_3(
    base: type[Client],
) -> None:
    class Early(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.timeout = 1.0
            self.pending_calls_threshold = 1
            super().__init__("localhost")

    client = Early()
    assert (client.timeout, client.pending_calls_threshold) == (10, 10)  # as in aiomqtt
    client.timeout, client.pending_calls_threshold = 2.0, 2
    assert (client.timeout, client.pending_calls_threshold) == (2, 2)
    assert internals_of(client).core.pending_calls_threshold == 2
