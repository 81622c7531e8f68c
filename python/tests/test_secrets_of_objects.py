"""No public object shows a secret, nor an error about a wrong host (contract 1.2)."""

import asyncio
import base64
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ferromqtt
import ferromqtt.blocking
from ferromqtt import (
    Client,
    ConnectResult,
    Credentials,
    Message,
    MqttError,
    PacketTypes,
    PayloadError,
    Properties,
    ProtocolVersion,
    ProxySettings,
    ServerLimits,
    TLSParameters,
    TypedMessage,
    Will,
)
from ferromqtt.testing import TestBroker
from support.clients import LIMIT
from support.secrets import SECRET, Debug, Watch

Show = Callable[[Watch], object]
V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5


URL = f"mqtt://u:{SECRET}@b.example"
"""What somebody may give where a host is wanted."""


@pytest.mark.parametrize(
    "host",
    [
        URL,
        f"u:{SECRET}@b.example:1883",
        f"//u:{SECRET}@b.example",
        f"u:{SECRET}",
        f"mqtt://u:{SECRET}",
    ],
)
@pytest.mark.parametrize(
    "option",
    ["hostname", "unix", "proxy_addr", "bind_address", "tls_server_hostname"],
)
def test_credentials_in_place_of_a_host_are_shown_nowhere_1_2(
    debug: Debug, watch: Watch, host: str, option: str
) -> None:
    options: dict[str, Any] = {"hostname": "localhost", "port": 1, "timeout": LIMIT}
    if option == "unix":
        options |= {"hostname": host, "transport": "unix"}
    elif option == "proxy_addr":
        proxy = ProxySettings(proxy_type=2, proxy_addr=host)
        watch.see(proxy)
        options["proxy"] = proxy
    elif option == "tls_server_hostname":
        options |= {option: host, "tls_params": TLSParameters()}
    else:
        options[option] = host

    async def main() -> None:
        client = Client(**options)
        watch.see(client)
        with pytest.raises((MqttError, ValueError)) as caught:
            await client.__aenter__()
        watch.see(caught.value)

    debug(main)


WITHOUT_SECRETS = {
    *("PacketTypes", "ProtocolVersion", "ClientState", "Reconnect", "Server", "Stats"),
    *("events", "ReasonCode", "SubscribeOptions", "Topic", "TopicTemplate", "Wildcard"),
    *("TopicLike", "WildcardLike", "MqttReentrantError", "MqttCodeError", "MqttOverflowError"),
    *("Subscription", "SubscriptionMessages", "MqttConnectError", "MqttTimeoutError"),
    *("MessagesIterator", "__version__", "__version_tuple__", "Unacknowledged", "AckLatency"),
    *("Drained", "MqttDiscardedError", "MqttQueueFullError", "OutgoingQueue", "Published"),
    *("MqttKeptError", "MqttQuarantinedError", "Outbox", "OutboxStats"),
    *("Receipt", "Codec", "json_codec", "Responder", "Requests", "RequestIterator", "Router"),
}
"""Public names that can hold neither a payload nor what authenticates."""


def test_every_public_name_is_known_1_2() -> None:
    """A new one is looked at above, or listed among those that can hold no secret."""
    sources = Path(__file__).parent.glob("test_secrets*.py")
    words = {word for source in sources for word in re.findall(r"\w+", source.read_text())}
    assert set(ferromqtt.__all__) - WITHOUT_SECRETS <= words


def test_no_object_shows_its_secret_1_2(watch: Watch) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.CorrelationData = SECRET.encode()
    message = Message("a", b"." * 32 + SECRET.encode(), 1, False, 1, properties)
    limits = ServerLimits(
        receive_maximum=1,
        max_qos=0,
        retain_available=False,
        max_packet_size=1,
        topic_alias_maximum=0,
        wildcard_subscription_available=False,
        shared_subscription_available=False,
        subscription_identifiers_available=False,
    )
    watch.see(
        properties,
        message,
        Will("w", SECRET, properties=properties),
        Will("w", SECRET.encode()),
        Will("w", correlation_data=SECRET.encode(), user_properties={"token": SECRET}),
        ConnectResult(
            session_present=False,
            client_id="me",
            limits=limits,
            server_keep_alive=0,
            session_expiry_interval=0,
            properties=properties,
        ),
        TLSParameters(keyfile_password=SECRET),
        ProxySettings(proxy_type=2, proxy_addr="a", proxy_password=SECRET),
        Credentials(SECRET, SECRET, {"Authorization": SECRET}, SECRET),
        TestBroker(users={"u": SECRET}),
    )


def test_a_request_shows_as_much_of_its_payload_as_a_message(watch: Watch) -> None:
    watch.see(ferromqtt.Request("a", b"." * 32 + SECRET.encode(), 1, False, 7, None))


def test_a_payload_that_a_codec_refuses_is_shown_nowhere() -> None:
    class Shows:
        """A codec whose errors show what it is given, as many do."""

        def encode(self, value: object) -> bytes:
            raise ValueError(value)

        def decode(self, payload: bytes) -> object:
            raise ValueError(payload)

    async def main() -> None:
        broker = TestBroker(listen=False)
        async with (
            Client(broker) as client,
            client.subscription("a", codec=Shows()) as messages,
        ):
            await client.publish("a", "." * 32 + SECRET)
            message = await anext(messages)
            assert type(message) is TypedMessage
            assert isinstance(message.error, PayloadError)
            with pytest.raises(PayloadError) as caught:
                await client.publish("a", SECRET, codec=Shows())
            for shown in (message, messages, message.error, caught.value):
                assert SECRET not in f"{shown!r} {shown}"

    asyncio.run(main())


def test_the_watch_finds_a_secret_1_2(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The tests above would pass if it saw nothing."""
    hidden = MqttError("wrong")
    hidden.__cause__ = ValueError(SECRET)
    noted = MqttError("wrong")
    noted.add_note(SECRET)
    shown: dict[str, Show] = {
        "an object": lambda watch: watch.see([SECRET]),
        "a cause": lambda watch: watch.see(hidden),
        "a note": lambda watch: watch.see(noted),
        "a log record": lambda _: logging.getLogger("ferromqtt").warning("%s", SECRET),
        "output": lambda _: print(base64.b64encode(f"u:{SECRET}".encode()).decode()),
    }
    for show in shown.values():
        watching = Watch(caplog, capfd)
        show(watching)
        with pytest.raises(AssertionError, match="is shown"):
            watching.check()
        caplog.clear()
