"""What programs write with aiomqtt, for type checkers: it is not run.

`make lint` has it checked against the shim, `make upstream` against aiomqtt itself: what the
original's annotations accept, ours accept too.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from typing import assert_type

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from aiomqtt.types import PayloadType, SocketOption, SubscribeTopic, WebSocketHeaders


class ByTopic(asyncio.PriorityQueue[aiomqtt.Message]):
    """The recipe of the documentation: a queue that orders messages."""

    def _put(self, item: aiomqtt.Message) -> None:
        super()._put(item)


class Device(aiomqtt.Client):
    """A client with a method of its own."""

    async def report(self, reading: float) -> None:
        """Publish what was measured."""
        await self.publish("readings", payload=reading, qos=1, retain=True, timeout=5)


def headers(given: dict[str, str]) -> dict[str, str]:
    """Add a header to those of the WebSocket request."""
    return given | {"Authorization": "Bearer token"}


def clients(context: ssl.SSLContext, logger: logging.Logger) -> list[aiomqtt.Client]:
    """Make clients with every option."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    options: list[SocketOption] = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    more_headers: WebSocketHeaders = headers
    return [
        aiomqtt.Client("localhost"),
        aiomqtt.Client("localhost", 1883, username="me", password="secret", logger=logger),
        aiomqtt.Client(
            hostname="localhost",
            port=8883,
            identifier="me",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            tls_context=context,
            tls_insecure=False,
            timeout=3.5,
            keepalive=30,
            will=aiomqtt.Will("gone", b"bye", 1, retain=True, properties=properties),
            socket_options=options,
        ),
        aiomqtt.Client(
            "localhost",
            tls_params=aiomqtt.TLSParameters(
                ca_certs="ca.pem",
                certfile="me.pem",
                keyfile="me.key",
                cert_reqs=ssl.CERT_REQUIRED,
                tls_version=ssl.PROTOCOL_TLS_CLIENT,
                ciphers="DEFAULT",
                keyfile_password="secret",
            ),
            transport="websockets",
            websocket_path="/mqtt",
            websocket_headers=more_headers,
            proxy=aiomqtt.ProxySettings(proxy_type=2, proxy_addr="proxy", proxy_port=1080),
        ),
        aiomqtt.Client(
            "localhost",
            queue_type=ByTopic,
            clean_session=True,
            clean_start=3,
            bind_address="127.0.0.1",
            bind_port=5000,
            max_queued_incoming_messages=100,
            max_queued_outgoing_messages=100,
            max_inflight_messages=20,
            max_concurrent_outgoing_calls=5,
            websocket_headers={"a": "b"},
            socket_options=((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),),
        ),
        Device("localhost"),
    ]


async def publish(client: aiomqtt.Client, payload: PayloadType) -> None:
    """Publish payloads of every type."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for each in ("text", b"bytes", bytearray(b"array"), 7, 28.4, None, payload):
        await client.publish("topic", each)
    await client.publish("topic", "x", 1, True, properties)
    await client.publish(topic="topic", payload="x", qos=2, retain=False, properties=properties)


async def subscribe(client: aiomqtt.Client, topic: SubscribeTopic) -> None:
    """Subscribe in every form, of 3.1.1 and 5.0."""
    options = SubscribeOptions(qos=1, noLocal=True)
    pairs: list[tuple[str, int]] = [("a", 0), ("b", 1)]
    with_options: list[tuple[str, SubscribeOptions]] = [("a", options)]
    await client.subscribe(topic)
    await client.subscribe("a")
    await client.subscribe("a", 1)
    await client.subscribe("a", qos=1, timeout=5)
    await client.subscribe("a", options=options)
    await client.subscribe(("a", options))
    await client.subscribe(pairs)
    await client.subscribe(with_options)
    granted = await client.subscribe([("a", 0), ("b", 2)])
    print(granted[0])
    await client.unsubscribe("a")
    await client.unsubscribe(["a", "b"], timeout=5)


async def receive(client: aiomqtt.Client) -> AsyncIterator[str]:
    """Iterate over messages in every way."""
    assert_type(client.messages, aiomqtt.MessagesIterator)
    assert_type(len(client.messages), int)
    async for message in client.messages:
        assert_type(message, aiomqtt.Message)
        assert_type(message.topic, aiomqtt.Topic)
        assert_type(message.payload, bytes)
        assert_type(message.qos, int)
        assert_type(message.retain, bool)
        assert_type(message.mid, int)
        if message.topic.matches("a/+") or message.topic.matches(aiomqtt.Wildcard("b/#")):
            yield message.payload.decode()
        if message.properties is not None:
            print(message.properties)
    first = await anext(client.messages)
    yield str(first.topic) + first.topic.value
    messages = client.messages
    waiting = asyncio.create_task(asyncio.wait_for(anext(messages), 5))
    yield str(await waiting)


def matches(topic: aiomqtt.TopicLike, wildcard: aiomqtt.WildcardLike) -> bool:
    """Compare a topic with a wildcard, each as text or as what stands for it."""
    given = aiomqtt.Topic(topic) if isinstance(topic, str) else topic
    return given.matches(wildcard)


async def main() -> None:
    """Connect, and again when the connection is lost."""
    client = aiomqtt.Client("localhost")
    client.pending_calls_threshold = 20
    client.timeout = 5
    while True:
        try:
            async with client as entered, aiomqtt.Client("elsewhere") as other:
                assert_type(entered, aiomqtt.Client)
                await other.publish(entered.identifier)
                await client.__aexit__(None, None, None)
        except MqttConnectError as refused:
            print(refused.rc)
        except aiomqtt.MqttCodeError as error:
            print(error.rc, str(error))
        except (aiomqtt.MqttReentrantError, aiomqtt.MqttError) as error:
            print(error.args)
        await asyncio.sleep(1)


def made() -> aiomqtt.Message:
    """Make a message, as tests do."""
    return aiomqtt.Message("a", b"x", 0, False, 1, None)


if __name__ == "__main__":
    asyncio.run(main())
