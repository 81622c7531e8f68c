"""No secret is in a log, a repr, a traceback or an error (contract 1.2).

Each case runs with asyncio's debug mode and all loggers at DEBUG; what it leaves anywhere is
searched for the secret in every form it could have been written in.
"""

import asyncio
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

import ferromqtt
import ferromqtt.blocking
from ferromqtt import (
    Client,
    MqttError,
    PacketTypes,
    Properties,
    ProtocolVersion,
    TLSParameters,
    Will,
)
from ferromqtt._internals import internals_of
from support import certificates, packets
from support.clients import LIMIT
from support.mosquitto import Mosquitto
from support.scripted import Connection, Script, ScriptedServer
from support.secrets import SECRET, Debug, Watch, fail, time_limit

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5


def refuse(code: int, *, v5: bool = False) -> Script:
    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        body = bytes([0, code]) + (b"\x00" if v5 else b"")
        connection.send(packets.encode(0x20, body))
        connection.read_to_end()

    return script


def close_at_connect(connection: Connection) -> None:
    connection.expect(packets.CONNECT)
    connection.close()


def silence(connection: Connection) -> None:
    connection.read_to_end()


def close_at_publish(connection: Connection) -> None:
    connection.accept_any()
    connection.expect(packets.PUBLISH)
    connection.close()


def echo(connection: Connection) -> None:
    """Send back what the client sent, as a broken server might."""
    connection.expect(packets.CONNECT)
    connection.send(connection.received)
    connection.read_to_end()


ENDS: dict[str, Script] = {
    "refused": refuse(5),
    "refused in version 5": refuse(0x86, v5=True),
    "closed before CONNACK": close_at_connect,
    "silent": silence,
    "lost": close_at_publish,
    "echoed": echo,
}


@pytest.mark.parametrize("kind", ["str", "bytes"])
@pytest.mark.parametrize("end", ENDS)
def test_the_password_is_shown_nowhere_1_2(debug: Debug, watch: Watch, end: str, kind: str) -> None:
    password = SECRET if kind == "str" else SECRET.encode()
    protocol = V5 if end.endswith("5") else V311

    async def main() -> None:
        client = Client(
            server.host,
            server.port,
            username="u",
            password=password,
            protocol=protocol,
            timeout=time_limit(end),
        )
        await fail(watch, client)

    with ScriptedServer(ENDS[end]) as server:
        debug(main)
        server.join()
        assert SECRET.encode() in server.received


@pytest.mark.parametrize("end", ENDS)
def test_the_password_of_a_url_is_shown_nowhere(debug: Debug, watch: Watch, end: str) -> None:
    encoded = urllib.parse.quote(SECRET, safe="")
    protocol = 5 if end.endswith("5") else 4

    async def main() -> None:
        url = f"mqtt://u:{encoded}@{server.host}:{server.port}?protocol={protocol}&client_id=c"
        client = Client.from_url(url, timeout=time_limit(end))
        watch.see(client, client.stats())
        await fail(watch, client)

    with ScriptedServer(ENDS[end]) as server:
        debug(main)
        server.join()
        assert SECRET.encode() in server.received


@pytest.mark.parametrize(
    "url",
    [
        f"mqtt://u:{SECRET}@localhost",
        f"mqtt://u@localhost?password={urllib.parse.quote(SECRET, safe='')}",
        f"mqtt://u@localhost?keep_alive={SECRET[:8]}",
        f"ftp://u:{SECRET}@localhost",
    ],
)
def test_a_url_that_cannot_be_read_is_not_told_by_the_error(watch: Watch, url: str) -> None:
    for make in (Client.from_url, ferromqtt.blocking.Client.from_url):
        with pytest.raises(ValueError, match="from_url") as caught:
            make(url)
        watch.see(caught.value)
    with pytest.raises(ValueError, match="servers") as wrong:
        Client("localhost", servers=[url])
    watch.see(wrong.value)
    watch.check()


def test_a_password_that_the_broker_refuses_is_shown_nowhere_1_2(
    debug: Debug, watch: Watch, mosquitto: Mosquitto
) -> None:
    async def main() -> None:
        client = Client(mosquitto.host, mosquitto.login_port, username="alice", password=SECRET)
        await fail(watch, client)

    debug(main)


@pytest.mark.parametrize(
    "password", [SECRET + "\ud800", SECRET * 5000, SECRET.encode() * 5000, [SECRET]]
)
def test_a_password_that_cannot_be_sent_is_not_told_by_the_error_1_2(
    watch: Watch,
    password: Any,  # noqa: ANN401
) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        Client("localhost", username="u", password=password)
    watch.see(caught.value)


@pytest.mark.parametrize("value", [SECRET.encode() * 5000, SECRET, [SECRET]])
def test_authentication_data_that_cannot_be_sent_is_not_told_by_the_error_1_2(
    watch: Watch,
    value: Any,  # noqa: ANN401
) -> None:
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = "PLAIN"
    with pytest.raises(ValueError, match="AuthenticationData") as caught:
        properties.AuthenticationData = value
    watch.see(caught.value)


def ask(connection: Connection) -> None:
    """Continue the authentication once, then close."""
    connection.expect(packets.CONNECT)
    properties = b"\x15" + packets.string("PLAIN") + b"\x16" + packets.string("well?")
    body = b"\x18" + bytes([len(properties)]) + properties
    connection.send(packets.encode(0xF0, body))
    assert SECRET.encode() in connection.expect(packets.AUTH)[1]
    connection.close()


@pytest.mark.parametrize("by_keyword", [False, True])
@pytest.mark.parametrize(
    "script",
    [refuse(0x86, v5=True), close_at_connect, silence, ask, echo],
    ids=["refused", "closed", "silent", "asked", "echoed"],
)
def test_authentication_data_are_shown_nowhere_1_2(
    debug: Debug, watch: Watch, script: Script, by_keyword: bool
) -> None:
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = "PLAIN"
    properties.AuthenticationData = SECRET.encode()
    watch.see(properties)
    given: dict[str, Any] = {"properties": properties}
    if by_keyword:
        given = {"authentication_method": "PLAIN", "authentication_data": SECRET.encode()}

    async def main() -> None:
        client = Client(
            server.host,
            server.port,
            protocol=V5,
            **given,
            timeout=time_limit("silent" if script is silence else ""),
            authenticator=lambda _: SECRET.encode(),
        )
        await fail(watch, client)

    with ScriptedServer(script) as server:
        debug(main)
        server.join()
        assert SECRET.encode() in server.received


def test_the_payload_of_a_message_is_not_told_by_an_error_1_2(debug: Debug, watch: Watch) -> None:
    """Nor that of a will."""

    async def main() -> None:
        client = Client(server.host, server.port, will=Will("w", SECRET))
        watch.see(client, internals_of(client).options)
        async with client:
            client.timeout = 0.5
            for payload in (SECRET, SECRET.encode(), bytearray(SECRET.encode())):
                with pytest.raises(MqttError) as caught:
                    await client.publish("a", payload, qos=1)
                watch.see(caught.value)
            with pytest.raises(TypeError) as wrong:
                await client.publish("a", {"key": SECRET})  # type: ignore[arg-type]
            watch.see(wrong.value)

    def mute(connection: Connection) -> None:
        connection.accept()
        connection.read_to_end()

    with ScriptedServer(mute) as server:
        debug(main)


def test_a_payload_that_is_no_unicode_is_not_told_by_the_error_1_2() -> None:
    """Not with the watch, whose search at the end is an error and not a failure."""

    async def main() -> None:
        with pytest.raises(ValueError, match=r"surrogate|UTF-8|Unicode") as caught:
            await Client("localhost").publish("a", SECRET + "\ud800")
        assert SECRET not in repr(caught.value)

    asyncio.run(main())


def test_the_password_of_a_key_is_shown_nowhere_1_2(
    debug: Debug, watch: Watch, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    certificates.make(tmp_path)
    certificates.encrypt_key(tmp_path, "client", "the right one")
    parameters = TLSParameters(
        ca_certs=str(mosquitto.ca_file),
        certfile=str(tmp_path / "client.pem"),
        keyfile=str(tmp_path / "client-encrypted.key"),
        keyfile_password=SECRET,
    )
    watch.see(parameters)

    async def main() -> None:
        client = Client("localhost", mosquitto.mutual_tls_port, tls_params=parameters)
        await fail(watch, client)

    debug(main)


def test_a_password_in_the_environment_is_not_told_by_the_error_1_2(
    debug: Debug, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slash that is not encoded makes a port of the password's beginning."""
    monkeypatch.setenv("mqtt_proxy", f"http://u:{SECRET[:8]}@proxy.example:1")

    async def main() -> None:
        with pytest.raises((MqttError, ValueError)) as caught:
            await Client("broker.example", timeout=LIMIT).__aenter__()
        watch.see(caught.value)

    debug(main)


def test_what_is_received_and_sent_is_in_no_log_1_2(debug: Debug, watch: Watch) -> None:
    """But for the first 32 bytes of a received message's payload, which its `repr` shows."""
    payload = b"." * 32 + SECRET.encode()
    received = packets.publish("a", payload, qos=1, packet_id=7)

    def script(connection: Connection) -> None:
        connection.accept()
        connection.expect(packets.PUBLISH)
        connection.send(packets.ack(packets.PUBACK, 1) + received)
        connection.expect(packets.PUBACK)
        connection.expect(packets.DISCONNECT)

    async def main() -> None:
        async with Client(server.host, server.port, will=Will("w", SECRET)) as client:
            publishing = asyncio.create_task(client.publish("a", SECRET, qos=1))
            receiving = asyncio.ensure_future(anext(client.messages))
            watch.see(publishing, receiving, internals_of(client).core)
            await publishing
            message = await receiving
            watch.see(message, publishing, receiving, client, client.messages)
            assert message.payload == payload

    with ScriptedServer(script) as server:
        debug(main)
