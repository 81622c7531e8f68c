"""What `repr` shows of a client."""

import asyncio

import pytest

from conftest import Broker, TcpBroker
from ferromqtt import Client, Message, ProtocolVersion
from support.clients import unique, wait_for_queued
from support.loops import LoopRunner


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        (Client("localhost"), "<Client('localhost', 1883) not connected>"),
        (
            Client("b.example", 8883, identifier="me", username="user", password="pw"),
            "<Client('b.example', 8883, identifier='me') not connected>",
        ),
        (
            Client("b.example", 80, transport="WebSockets", websocket_path="/token"),
            "<Client('b.example', 80, transport='websockets') not connected>",
        ),
        (
            Client("/run/mqtt.sock", transport="unix"),
            "<Client('/run/mqtt.sock', transport='unix') not connected>",
        ),
        (
            Client("mqtt://user:pw@b.example"),  # a mistake that must not show the password
            "<Client('***@b.example', 1883) not connected>",
        ),
        (Client("user:pw"), "<Client('user:***', 1883) not connected>"),
        (Client(None), "<Client(None, 1883) not connected>"),  # type: ignore[arg-type]
        (Client("b.example:1883"), "<Client('b.example:1883', 1883) not connected>"),
        (Client("fe80::1%eth0"), "<Client('fe80::1%eth0', 1883) not connected>"),
        (
            Client("/run/a:b@c.sock", transport="unix"),
            "<Client('/run/a:b@c.sock', transport='unix') not connected>",
        ),
        (
            Client("unix://user:pw@x", transport="unix"),
            "<Client('***@x', transport='unix') not connected>",
        ),
    ],
    ids=[
        *("plain", "identifier", "websockets", "unix", "URL", "credentials"),
        *("nothing", "host and port", "IPv6", "path", "URL of a socket"),
    ],
)
def test_a_client_shows_where_it_connects_to_and_as_what(client: Client, shown: str) -> None:
    assert repr(client) == shown


def test_a_made_up_identifier_is_shown() -> None:
    client = Client("localhost", protocol=ProtocolVersion.V31)
    assert (
        repr(client)
        == f"<Client('localhost', 1883, identifier={client.identifier!r}) not connected>"
    )


def test_a_client_shows_whether_it_is_connected(run: LoopRunner, tcp_broker: TcpBroker) -> None:
    async def main() -> None:
        me = unique("repr")
        client = Client(*tcp_broker.where, identifier=me)
        shown = f"<Client({tcp_broker.host!r}, {tcp_broker.port}, identifier={me!r}) "
        async with client:
            assert repr(client) == f"{shown}connected>"
        assert repr(client) == f"{shown}not connected>"

    run(main)


def test_a_client_of_another_class_shows_its_name() -> None:
    class Sensor(Client):
        @property
        def identifier(self) -> str:
            raise AssertionError("not for `repr`")

    assert repr(Sensor("localhost")) == "<Sensor('localhost', 1883) not connected>"


def test_a_client_whose_constructor_failed_has_a_repr() -> None:
    made: list[Client] = []

    class Kept(Client):
        def __init__(self) -> None:
            made.append(self)
            super().__init__("localhost", transport="udp")

    with pytest.raises(ValueError, match="transport"):
        Kept()
    assert "Kept object at" in repr(made[0])


@pytest.mark.parametrize("queue_type", [None, asyncio.Queue])
def test_messages_show_how_many_are_queued(
    run: LoopRunner, broker: Broker, queue_type: type[asyncio.Queue[Message]] | None
) -> None:
    async def main() -> None:
        topic = unique("shown")
        async with Client(*broker.where, queue_type=queue_type) as client:
            assert repr(client.messages) == "<messages of a client, 0 queued>"
            await client.subscribe(topic, qos=1)
            for _ in range(3):
                await client.publish(topic, qos=1)
            await wait_for_queued(client, 3)
            assert repr(client.messages) == "<messages of a client, 3 queued>"

    run(main)
