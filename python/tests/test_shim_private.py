"""Private members of aiomqtt's client that the shim has (contract 3)."""

import asyncio
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from conftest import Broker
from ferromqtt import Message
from support.clients import LIMIT, unique, wait_for_queued
from support.loops import LoopRunner


def test_the_paho_client_tells_its_logger_3(run: LoopRunner, shim: ModuleType) -> None:
    async def main() -> None:
        logger = logging.getLogger("test.private")
        assert shim.Client("localhost", logger=logger)._client._logger is logger
        assert shim.Client("localhost")._client._logger is logging.getLogger("mqtt")

    run(main)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("on_message", "iterate over `client.messages`"),
        ("on_connect", "`async with client:`"),
        ("on_log", "give the client a `logger`"),
        ("reconnect_delay_set", "use the methods and parameters of `aiomqtt.Client`"),
    ],
)
def test_what_the_paho_client_does_not_have_cannot_be_assigned_or_read_3(
    shim: ModuleType, name: str, instead: str
) -> None:
    client = shim.Client("localhost")
    with pytest.raises(AttributeError, match=f"client._client has no attribute '{name}'") as error:
        setattr(client._client, name, print)
    assert instead in str(error.value)
    with pytest.raises(AttributeError, match=f"client._client has no attribute '{name}'") as error:
        getattr(client._client, name)
    assert instead in str(error.value)
    assert not hasattr(client._client, name)


def test_the_paho_client_is_one_object_on_which_a_test_may_replace_what_it_has_3(
    shim: ModuleType,
) -> None:
    client = shim.Client("localhost")
    assert client._client is client._client
    assert shim.Client("localhost")._client is not client._client
    client._client.is_connected = lambda: True
    assert client._client.is_connected()


def test_closing_the_paho_clients_socket_has_the_will_published_3(
    run: LoopRunner, broker: Broker, shim: ModuleType
) -> None:
    async def main() -> None:
        topic = unique("will")
        async with shim.Client(*broker.where) as watcher:
            await watcher.subscribe(topic)
            will = shim.Will(topic, b"gone")
            async with shim.Client(*broker.where, will=will) as client:
                client._client._sock_close()
                async with asyncio.timeout(LIMIT):
                    assert (await anext(watcher.messages)).payload == b"gone"
            client._client._sock_close()  # there is none any more

    run(main)


def test_the_lock_is_held_while_entered_3(
    run: LoopRunner, broker: Broker, shim: ModuleType
) -> None:
    async def main() -> None:
        client = shim.Client(*broker.where)
        assert (client._lock.locked(), client._connected.done()) == (False, False)
        async with client:
            assert (client._lock.locked(), client._connected.done()) == (True, True)
            assert not client._disconnected.done()
        assert (client._lock.locked(), client._connected.done()) == (False, False)
        client.timeout = 0
        with pytest.raises(shim.MqttError):
            await client.__aenter__()
        assert (client._lock.locked(), client._connected.done()) == (False, False)

    run(main)


def test_settling_disconnected_ends_the_connection_3(
    run: LoopRunner, broker: Broker, shim: ModuleType
) -> None:
    async def main() -> None:
        topic = unique("again")
        client = shim.Client(*broker.where)
        async with client:
            client._disconnected.set_result(None)
            async with asyncio.timeout(LIMIT):
                with pytest.raises(shim.MqttError, match="Disconnected") as failure:
                    await anext(client.messages)
            assert failure.value.__cause__ is None
        async with client:
            await client.subscribe(topic)
            await client.publish(topic, "foo")
            async with asyncio.timeout(LIMIT):
                assert (await anext(client.messages)).payload == b"foo"

    run(main)


def test_an_overridden_on_message_gets_every_message_3(
    run: LoopRunner, broker: Broker, shim: ModuleType
) -> None:
    seen: list[bytes] = []

    class Watching(shim.Client):  # type: ignore[name-defined, misc]
        def _on_message(self, client: object, userdata: object, message: Message) -> None:
            super()._on_message(client, userdata, message)
            seen.append(message.payload)

    async def main() -> None:
        topic = unique("routed")
        async with Watching(*broker.where) as client:
            await client.subscribe(topic)
            for number in range(3):
                await client.publish(topic, number)
            async with asyncio.timeout(LIMIT):
                payloads = [(await anext(client.messages)).payload for _ in range(3)]
            assert payloads == seen == [b"0", b"1", b"2"]
            seen.clear()

    run(main)


def on_class(shim: ModuleType, seen: list[bytes], patch: pytest.MonkeyPatch) -> type[Any]:
    original = shim.Client._on_message

    def watch(self: object, client: object, userdata: object, message: Message) -> None:
        original(self, client, userdata, message)
        seen.append(message.payload)

    patch.setattr(shim.Client, "_on_message", watch)
    return shim.Client  # type: ignore[no-any-return]


def on_instance(shim: ModuleType, seen: list[bytes], patch: pytest.MonkeyPatch) -> type[Any]:
    del patch

    class Assigns(shim.Client):  # type: ignore[name-defined, misc]
        def __init__(self, *args: object, **kwargs: object) -> None:
            original = super()._on_message

            def watch(client: object, userdata: object, message: Message) -> None:
                original(client, userdata, message)
                seen.append(message.payload)

            self._on_message = watch
            super().__init__(*args, **kwargs)

    return Assigns


@pytest.mark.parametrize("queue_type", [None, asyncio.LifoQueue])
@pytest.mark.parametrize("where", [on_class, on_instance])
def test_an_on_message_that_was_put_in_place_gets_every_message_3(
    run: LoopRunner,
    broker: Broker,
    shim: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    where: Callable[..., type[Any]],
    queue_type: type[asyncio.Queue[Message]] | None,
) -> None:
    """Before the client is made; what is assigned later is not looked at, as in aiomqtt."""
    seen: list[bytes] = []

    async def main() -> None:
        topic = unique("routed")
        client = where(shim, seen, monkeypatch)(*broker.where, queue_type=queue_type)
        client._on_message = None
        async with client:
            await client.subscribe(topic)
            for number in range(3):
                await client.publish(topic, number)
            await wait_for_queued(client, 3)
            payloads = [(await anext(client.messages)).payload for _ in range(3)]
        assert seen == [b"0", b"1", b"2"]
        assert payloads == (seen[::-1] if queue_type else seen)

    run(main)


def test_private_members_can_be_replaced_3(
    run: LoopRunner, broker: Broker, shim: ModuleType
) -> None:
    async def main() -> None:
        client = shim.Client(*broker.where)
        for name in ("_client", "_lock", "_connected", "_disconnected", "_logger"):
            setattr(client, name, name)
            assert getattr(client, name) == name
        async with client:
            await client.publish(unique("replaced"), qos=1)

    run(main)
