"""No secret is in a log, a repr, a traceback or an error (contract 1.2).

Each case runs with asyncio's debug mode and all loggers at DEBUG; what it leaves anywhere is
searched for the secret in every form it could have been written in.
"""

import asyncio
import base64
import logging
import re
import traceback
import urllib.parse
import warnings
from collections.abc import Callable, Coroutine, Iterator
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
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker
from support import certificates, packets
from support.clients import LIMIT
from support.loops import FACTORIES
from support.mosquitto import Mosquitto
from support.scripted import HEAD_END, Connection, Script, ScriptedServer

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5
Debug = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
SECRET = "s3cr3t/p+ss w%rd"
FORMS = {
    SECRET,
    SECRET[:8],
    repr(SECRET)[1:-1],
    urllib.parse.quote(SECRET, safe=""),
    urllib.parse.quote_plus(SECRET),
    SECRET.encode().hex(),
    *(
        base64.b64encode(it.encode()).decode().rstrip("=")[:-1]
        for it in (SECRET, f"u:{SECRET}", f"Bearer {SECRET}")
    ),
}
"""How the secret could look in a text."""


class Watch:
    """Collects all that anybody could read."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self._caplog = caplog
        self._capfd = capfd
        self.texts: list[str] = []

    def see(self, *things: object) -> None:
        """Look at objects the ways a program prints them; at exceptions with all they carry."""
        for thing in things:
            self.texts += [repr(thing), str(thing), f"{thing}", f"{[thing]}"]
            if isinstance(thing, BaseException):
                self.texts += traceback.format_exception(thing)
                self.texts += [repr(thing.args), repr(vars(thing))]
                # a context that "from None" suppresses is not printed
                context = None if thing.__suppress_context__ else thing.__context__
                self.see(*(it for it in (thing.__cause__, context) if it is not None))

    def check(self) -> None:
        """Search everything, what was logged and printed too."""
        formatter = logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s")
        self.texts += [formatter.format(record) for record in self._caplog.records]
        self.texts += self._capfd.readouterr()
        for form in FORMS:
            for text in self.texts:
                assert form not in text, f"{form!r} is shown: {text}"


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Watch]:
    """Return what collects; it searches at the end of the test."""
    caplog.set_level(logging.DEBUG)
    levels = {name: logging.getLogger(name).level for name in ("asyncio", "ferromqtt", "mqtt")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    watching = Watch(caplog, capfd)
    yield watching
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    watching.check()


@pytest.fixture(params=FACTORIES)
def debug(request: pytest.FixtureRequest, watch: Watch) -> Debug:
    """Run a coroutine function in a loop in debug mode that reports every callback as slow."""

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        watch.see(context)
        loop.default_exception_handler(context)

    def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def bounded() -> None:
            loop = asyncio.get_running_loop()
            loop.slow_callback_duration = 0
            loop.set_exception_handler(report)
            async with asyncio.timeout(LIMIT * 2):
                await main()
            watch.see(*asyncio.all_tasks())

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with asyncio.Runner(debug=True, loop_factory=FACTORIES[request.param]) as runner:
                runner.run(bounded())
        watch.see(*(warning.message for warning in caught))

    return run


def time_limit(end: str) -> float:
    """Return a short one for a server that stays silent: nothing else may end by the clock."""
    return 1 if end == "silent" else LIMIT


async def fail(watch: Watch, client: Client) -> None:
    """Enter, which must fail or end soon; look at everything on the way."""
    watch.see(client, internals_of(client).options, internals_of(client).core, client.messages)
    try:
        async with client:
            watch.see(client, asyncio.current_task())
            try:
                await client.publish("a", b"x", qos=1)
                await anext(client.messages)
            except MqttError as error:
                watch.see(error)
                raise
    except (MqttError, ValueError) as error:
        watch.see(error)
    else:
        pytest.fail("this was to fail")
    watch.see(client, internals_of(client).options, internals_of(client).core)


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


WITHOUT_SECRETS = {
    *("PacketTypes", "ProtocolVersion", "ClientState", "Reconnect", "Server", "Stats"),
    *("events", "ReasonCode", "SubscribeOptions", "Topic", "TopicTemplate", "Wildcard"),
    *("TopicLike", "WildcardLike", "MqttReentrantError", "MqttCodeError", "MqttOverflowError"),
    *("Subscription", "SubscriptionMessages", "MqttConnectError", "MqttTimeoutError"),
    *("MessagesIterator", "__version__", "__version_tuple__", "Unacknowledged", "AckLatency"),
    *("Drained", "MqttDiscardedError", "MqttQueueFullError", "OutgoingQueue", "Published"),
    *("Receipt", "Codec", "json_codec"),
}
"""Public names that can hold neither a payload nor what authenticates."""


def test_every_public_name_is_known_1_2() -> None:
    """A new one is looked at above, or listed among those that can hold no secret."""
    source = Path(__file__).read_text()
    words = set(re.findall(r"\w+", source))
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


def test_the_watch_finds_a_secret_1_2(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The tests above would pass if it saw nothing."""
    hidden = MqttError("wrong")
    hidden.__cause__ = ValueError(SECRET)
    noted = MqttError("wrong")
    noted.add_note(SECRET)
    shown: dict[str, Callable[[Watch], object]] = {
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
