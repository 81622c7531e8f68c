"""Subscriptions with a queue of their own."""

import asyncio

from ferromqtt import Client, ProtocolVersion, Reconnect, events
from ferromqtt.testing import TestBroker
from support import packets
from support.provocations.registry import ARGUMENTS, CALLS, LOG, Given, World, provokes
from support.scripted import Connection, ScriptedServer
from support.subscriptions import refusing_to_unsubscribe
from support.virtual import memory_broker, play

V5 = ProtocolVersion.V5


def refusing(part: str, *topics: Given, **options: Given) -> None:
    """A subscription with wrong arguments."""

    @provokes(ARGUMENTS, part)
    async def fail(_: World) -> None:
        version = options.pop("protocol", ProtocolVersion.V311)
        Client("localhost", protocol=version).subscription(*topics, **options)


refusing("give the subscription at least one")
refusing("A tuple is one filter with its QoS or options", ("a", "b"))
refusing("no_local must not", "$share/g/a", no_local=True, protocol=V5)
refusing("retain_handling must", "a", retain_handling=3)
refusing("needs MQTT 5.0", "a", no_local=True)
refusing("{option} must be in the range", "a", maxsize=0)
refusing("are both None", "a", maxsize=None, maxbytes=None)
refusing("{option} must be {choices}", "a", overflow="block")


@provokes(CALLS, "refused the subscription")
async def _(_: World) -> None:
    broker = TestBroker(listen=False, deny_subscribe=["a"])
    async with broker.client() as client, client.subscription("a"):
        pass


@provokes(CALLS, "The subscription is open already")
async def _(_: World) -> None:
    async with TestBroker(listen=False).client() as client:
        subscription = client.subscription("a")
        async with subscription:
            await subscription.__aenter__()


@provokes(CALLS, "The queue of the subscription was full")
async def _(_: World) -> None:
    async with (
        TestBroker(listen=False).client() as client,
        client.subscription("a", qos=1, maxsize=1, overflow="fail") as messages,
    ):
        for _message in range(2):
            await client.publish("a", qos=1)
        async for _message in messages:
            pass


@provokes(CALLS, "no UNSUBACK")
async def _(_: World) -> None:
    def script(connection: Connection) -> None:
        connection.accept()
        _, body = connection.expect(packets.SUBSCRIBE)
        connection.send(b"\x90\x03" + body[:2] + b"\0")
        connection.read_to_end()

    with ScriptedServer(script) as server:
        async with (
            Client(server.host, server.port, timeout=1) as client,
            client.subscription("a") as messages,
        ):
            await messages.unsubscribe(timeout=0.05)


@provokes(CALLS, "refused to end the subscription")
async def _(_: World) -> None:
    with ScriptedServer(refusing_to_unsubscribe(1)) as server:
        async with (
            Client(server.host, server.port, protocol=V5) as client,
            client.subscription("a") as messages,
        ):
            await messages.unsubscribe()


@provokes(LOG, "refused to end a subscription")
async def _(_: World) -> None:
    with ScriptedServer(refusing_to_unsubscribe(1)) as server:
        async with Client(server.host, server.port, protocol=V5) as client:
            await client.subscribe("a")
            await client.unsubscribe("a")


@provokes(LOG, "could not be asked to end a subscription")
async def _(_: World) -> None:
    """The server resumes the session, and takes smaller packets than before."""
    small_packets = b"\x20\x08\x01\x00\x05\x27\x00\x00\x00\x40"
    long = "a" * 100

    def grants(connection: Connection) -> None:
        connection.accept(packets.CONNACK_5)
        packet_id = packets.packet_id_of(*connection.expect(packets.SUBSCRIBE))
        connection.send(packets.ack(packets.SUBACK, packet_id, b"\x00\x00"))

    def resumes(connection: Connection) -> None:
        connection.accept(small_packets)
        connection.expect(packets.DISCONNECT)

    with ScriptedServer(grants, resumes) as server:
        policy = Reconnect(min=0.01, max=0.01)
        async with Client(server.host, server.port, protocol=V5, reconnect=policy) as client:
            happened = client.events()
            async with client.subscription(long):
                while not isinstance(await anext(happened), events.Disconnected):
                    pass
                await client.wait_connected()


@provokes(LOG, "cannot be made on it: the server was not asked")
async def _(_: World) -> None:
    broker = TestBroker(listen=False, shared_subscription_available=False)
    client = broker.client(protocol=V5)
    async with client.subscription("$share/g/a"), client:
        await client.publish("b", qos=1)


@provokes(LOG, "the server refused a subscription that was declared")
async def _(_: World) -> None:
    client = TestBroker(listen=False, deny_subscribe=["a"]).client()
    async with client.subscription("a"), client:
        await client.publish("b", qos=1)


def neglecting(part: str, qos: int, **options: Given) -> None:
    """A reader that takes nothing while messages come, in virtual time."""

    async def neglect() -> None:
        broker = memory_broker()
        async with (
            broker.client() as client,
            broker.client() as other,
            client.subscription("a", qos=qos, maxsize=1, **options),
        ):
            for _ in range(3):
                await other.publish("a", qos=qos)
            await asyncio.sleep(8)

    @provokes(LOG, part)
    async def wait(_: World) -> None:
        await asyncio.to_thread(play, neglect)


neglecting("received messages are lost: the queue was full", 1, overflow="drop_newest")
neglecting("has withheld acknowledgements", 1)
neglecting("nobody has read it", 0)


@provokes(LOG, "their subscription was left before the program had taken them")
async def _(_: World) -> None:
    async with (
        TestBroker(listen=False).client() as client,
        client.subscription("a", qos=1, ack="manual"),
    ):
        await client.publish("a", qos=1)
