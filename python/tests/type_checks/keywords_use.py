"""What type checkers make of properties as keywords, and of unknown keywords: it is not run."""

from __future__ import annotations

import ssl
from functools import partial
from typing import assert_type

from ferromqtt import Client, ConnectResult, Message, Topic, Will, blocking


async def properties_are_keywords(client: Client, message: Message) -> None:
    """Publish, subscribe and unsubscribe with properties."""
    await client.publish(
        "t",
        "x",
        content_type="text/plain",
        message_expiry_interval=60,
        response_topic=Topic("a"),
        correlation_data=b"x",
        user_properties={"a": "b"},
        topic_alias=1,
        payload_format_indicator=1,
        timeout=5,
    )
    await client.publish("t", user_properties=[("a", "b")], content_type=None)
    await client.subscribe("t", subscription_identifier=5, user_properties={"a": "b"})
    await client.unsubscribe("t", user_properties=(("a", "b"),))
    assert_type(message.content_type, str | None)
    assert_type(message.correlation_data, bytes | None)
    assert_type(message.user_properties, list[tuple[str, str]])
    assert_type(message.subscription_identifiers, list[int])
    assert_type(client.connack, ConnectResult | None)
    if client.connack is not None:
        assert_type(client.connack.limits.max_qos, int)
    Will("w", will_delay_interval=5, user_properties={"a": "b"})
    Client("h", protocol=5, session_expiry_interval=60, user_properties=[("a", "b")])


async def others_are_refused(client: Client, sync: blocking.Client) -> None:
    """Unknown keywords, and values of another type."""
    await client.publish("t", contenttype="a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await client.publish("t", content_type=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await client.subscribe("t", content_type="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.unsubscribe("t", qos=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Client("h", keep_alive=30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Will("w", delay=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    sync.publish("t", content_type="a")
    sync.publish("t", contenttype="a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def a_url_and_options(url: str, context: ssl.SSLContext) -> None:
    """The options beside a URL are those of the constructor."""
    async with Client.from_url(url, protocol="auto", identifier="a", reconnect=True) as client:
        assert_type(client, Client)
    Client.from_url(url, tls_context=context, clean_start=3, servers=["mqtts://other"])
    Client.from_url(url, will=Will("w"), user_properties={"a": "b"}, username=None)
    connect = partial(Client.from_url, url, keepalive=5)
    assert_type(connect(), Client)
    assert_type(blocking.Client.from_url(url, timeout=5), blocking.Client)
    Client.from_url(url, keep_alive=30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Client.from_url(url, keepalive="30")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client.from_url(url, port=1884)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Client.from_url(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    blocking.Client.from_url(url, protocol="six")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
