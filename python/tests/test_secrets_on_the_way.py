"""No secret is shown that goes by a proxy, a WebSocket or the words of a server (contract 1.2)."""

import asyncio
import base64
import urllib.parse

import pytest

from ferromqtt import (
    Client,
    MqttError,
    ProtocolVersion,
    ProxySettings,
)
from ferromqtt._internals import internals_of
from support import packets
from support.clients import LIMIT
from support.scripted import HEAD_END, Connection, Script, ScriptedServer
from support.secrets import SECRET, Debug, Watch, fail, time_limit

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5


def through_proxy(server: ScriptedServer, kind: int, end: str = "") -> Client:
    proxy = ProxySettings(
        proxy_type=kind,
        proxy_addr=server.host,
        proxy_port=server.port,
        proxy_username="u",
        proxy_password=SECRET,
    )
    return Client("localhost", proxy=proxy, timeout=time_limit(end))


@pytest.mark.parametrize("kind", [2, 3])
@pytest.mark.parametrize("end", ["closed", "silent", "nonsense", "refused"])
def test_the_password_of_a_proxy_is_shown_nowhere_1_2(
    debug: Debug, watch: Watch, kind: int, end: str
) -> None:
    def script(connection: Connection) -> None:
        connection.peek()
        if end == "nonsense":
            connection.send(b"\xff" * 100)
        elif end == "silent":
            connection.read_to_end()
        elif end == "refused" and kind == 3:
            connection.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        elif end == "refused":
            connection.send(b"\x05\x02")
            connection.peek(until=SECRET.encode())
            connection.send(b"\x01\x01")

    async def main() -> None:
        client = through_proxy(server, kind, end)
        watch.see(client, internals_of(client).options, internals_of(client).options.proxy)
        await fail(watch, client)

    with ScriptedServer(script) as server:
        debug(main)


def test_a_proxy_that_echoes_the_password_does_not_have_it_shown_1_2() -> None:
    def script(connection: Connection) -> None:
        request = connection.peek(until=HEAD_END).replace(b"\r\n", b" ")
        connection.send(b"HTTP/1.1 403 " + request + b"\r\n\r\n")
        connection.read_to_end()

    async def main() -> None:
        with pytest.raises(MqttError) as caught:
            await through_proxy(server, 3).__aenter__()
        assert base64.b64encode(f"u:{SECRET}".encode()).decode() not in str(caught.value)

    with ScriptedServer(script) as server:
        asyncio.run(main())


@pytest.mark.parametrize("end", ["closed", "silent", "refused"])
@pytest.mark.parametrize("form", ["dict", "callable"])
def test_a_header_of_the_opening_request_is_shown_nowhere_1_2(
    debug: Debug, watch: Watch, end: str, form: str
) -> None:
    headers = {"Authorization": f"Bearer {SECRET}"}

    def script(connection: Connection) -> None:
        assert SECRET.encode() in connection.peek(until=HEAD_END)
        if end == "refused":
            connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        elif end == "silent":
            connection.read_to_end()

    async def main() -> None:
        client = Client(
            server.host,
            server.port,
            transport="websockets",
            websocket_path="/mqtt",
            websocket_headers=headers if form == "dict" else lambda usual: usual | headers,
            timeout=time_limit(end),
        )
        await fail(watch, client)

    with ScriptedServer(script) as server:
        debug(main)


def refuse_with_words(words: str) -> Script:
    """Refuse in version 5 with a Reason String."""

    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        reason = b"\x1f" + packets.string(words)
        connection.send(packets.encode(0x20, b"\x00\x86" + bytes([len(reason)]) + reason))
        connection.read_to_end()

    return script


@pytest.mark.parametrize(
    "words",
    [
        f"password {SECRET} is wrong",
        f"password {urllib.parse.quote(SECRET, safe='')} is wrong",
        base64.b64encode(SECRET.encode()).decode(),
        SECRET.encode().hex(),
    ],
)
def test_a_reason_string_that_repeats_the_password_is_not_shown_1_2(
    debug: Debug, watch: Watch, words: str
) -> None:
    async def main() -> None:
        client = Client(
            server.host, server.port, username="u", password=SECRET, protocol=V5, timeout=LIMIT
        )
        await fail(watch, client)

    with ScriptedServer(refuse_with_words(words)) as server:
        debug(main)
    assert any("left out" in text for text in watch.texts)


def test_a_reason_string_is_one_short_line_1_2(debug: Debug, watch: Watch) -> None:
    async def main() -> None:
        await fail(watch, Client(server.host, server.port, protocol=V5, timeout=LIMIT))

    with ScriptedServer(refuse_with_words("no\x1b[31m\n" + "x" * 90)) as server:
        debug(main)
    assert any("no\\u{1b}[31m\\nxxx" in text for text in watch.texts)
    assert not any("\x1b" in text for text in watch.texts)


def repeats_the_request(connection: Connection) -> None:
    """Answer HTTP with a status line that repeats the request, as a broken proxy might."""
    request = connection.peek(until=HEAD_END).replace(b"\r\n", b" ")
    connection.send(b"HTTP/1.1 403 " + request + b"\r\n\r\n")
    connection.read_to_end()


def redirects_with_the_token(connection: Connection) -> None:
    connection.peek(until=HEAD_END)
    token = urllib.parse.quote(SECRET, safe="").encode()
    connection.send(b"HTTP/1.1 307 " + token + b"\r\nLocation: ws://b/?" + token + b"\r\n\r\n")
    connection.read_to_end()


@pytest.mark.parametrize("script", [repeats_the_request, redirects_with_the_token])
def test_an_http_answer_that_repeats_the_request_is_not_shown_1_2(
    debug: Debug, watch: Watch, script: Script
) -> None:
    token = urllib.parse.quote(SECRET, safe="")

    async def main() -> None:
        await fail(watch, through_proxy(server, 3))
        websocket = Client(
            server.host,
            server.port,
            transport="websockets",
            websocket_path=f"/mqtt?token={token}",
            websocket_headers={"Authorization": f"Bearer {SECRET}"},
            timeout=LIMIT,
        )
        await fail(watch, websocket)

    with ScriptedServer(script, script) as server:
        debug(main)
