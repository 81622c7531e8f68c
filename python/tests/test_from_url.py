"""Clients that are made of a URL: `Client.from_url`, and URLs among `servers`."""

import inspect
import pydoc
import re
import ssl
import traceback
import typing
from typing import Any

import pytest

from ferromqtt import Client, ProtocolVersion, TLSParameters, blocking
from ferromqtt._client_keywords import ClientKeywords
from ferromqtt._client_options import ClientOptions
from ferromqtt._internals import internals_of
from ferromqtt._option_checks import check_enter
from ferromqtt.connection import Server
from ferromqtt.testing import TestBroker
from support.clients import receive, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto
from support.scripted import ScriptedServer, serve_311

PASSWORD = "h&sh/h?sh"
ENCODED = "h%26sh%2Fh%3Fsh"


def options_of(url: str, **options: Any) -> ClientOptions:  # noqa: ANN401
    return internals_of(Client.from_url(url, **options)).options


@pytest.mark.parametrize(
    ("url", "hostname", "port", "transport", "tls"),
    [
        ("mqtt://h", "h", 1883, "tcp", False),
        ("h:7", "h", 7, "tcp", False),
        ("MQTTS://h", "h", 8883, "tcp", True),
        ("ws://h", "h", 80, "websockets", False),
        ("wss://[::1]:7/x", "::1", 7, "websockets", True),
        ("mqtt+unix:///run/a%20b", "/run/a b", 1883, "unix", False),
    ],
)
def test_a_scheme_says_how_to_connect(
    url: str, hostname: str, port: int, transport: str, tls: bool
) -> None:
    options = options_of(url)
    assert (options.hostname, options.port, options.transport) == (hostname, port, transport)
    assert options.tls_params == (TLSParameters() if tls else None)
    check_enter(options)


def test_a_url_has_credentials_and_options_of_the_client() -> None:
    url = f"mqtts://a%40b:{ENCODED}@h:7?client_id=c%20d&keep_alive=9&protocol=5"
    options = options_of(url)
    assert (options.username, options.password) == ("a@b", PASSWORD.encode())
    assert (options.identifier, options.keepalive, options.protocol) == ("c d", 9, 5)
    for version, protocol in (("3.1", 3), ("3.1.1", 4), ("5.0", 5), ("auto", "auto")):
        url = f"mqtt://h?protocol={version}"
        direct = internals_of(Client("h", protocol=protocol)).options  # type: ignore[arg-type]
        options = options_of(url)
        assert (options.protocol, options.falls_back) == (direct.protocol, direct.falls_back)
    assert options_of("ws://h?token=x").websocket_path == "/mqtt?token=x"


def test_other_arguments_stand_beside_the_url() -> None:
    context = ssl.create_default_context()
    options = options_of("mqtts://h", tls_context=context, username="a", protocol=5, will=None)
    assert options.tls_context is context
    assert options.tls_params is None
    assert (options.username, options.protocol) == ("a", ProtocolVersion.V5)
    # None says nothing, as where an environment variable is not set.
    assert options_of("mqtts://a@h", username=None, tls_params=None).username == "a"


@pytest.mark.parametrize(
    ("url", "options", "named"),
    [
        ("mqtt://h", {"port": 1884}, "port"),
        ("mqtt://h", {"hostname": "i"}, "hostname"),
        ("mqtt://h", {"transport": "websockets"}, "transport"),
        (f"mqtt://a:{ENCODED}@h", {"username": "b"}, "username"),
        (f"mqtt://a:{ENCODED}@h", {"password": PASSWORD}, "password"),
        ("ws://h", {"websocket_path": "/x"}, "websocket_path"),
        ("mqtt://h?client_id=c", {"identifier": "d"}, "identifier"),
        ("mqtt://h?keep_alive=9", {"keepalive": 9}, "keepalive"),
        ("mqtt://h?protocol=5", {"protocol": 5}, "protocol"),
    ],
)
@pytest.mark.parametrize("make", [Client.from_url, blocking.Client.from_url])
def test_what_the_url_says_is_not_said_twice(
    make: Any,  # noqa: ANN401
    url: str,
    options: dict[str, Any],
    named: str,
) -> None:
    text = f"from_url: the argument {named} is given, and the URL gives it too: "
    with pytest.raises(ValueError, match=f"^{text}") as caught:
        make(url, **options)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["tls_context", "tls_params"])
def test_tls_options_need_a_scheme_with_tls(name: str) -> None:
    given: Any = {"tls_context": ssl.create_default_context(), "tls_params": TLSParameters()}[name]
    with pytest.raises(ValueError, match=rf"^from_url: {name} is given, .* mqtts:// or wss://\.$"):
        Client.from_url("mqtt://h", **{name: given})


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://a:{PASSWORD}@h",
        f"mqtt://a:{PASSWORD}@h",
        f"mqtt://a:{ENCODED}%@h",
        f"mqtt://a:{ENCODED}@h:port",
        f"mqtt://a:{ENCODED}@h/path",
        f"mqtt://a:{ENCODED}@h?password={ENCODED}",
        f"mqtt://a:{ENCODED}@h?keep_alive={ENCODED}",
        f"mqtt://a:{ENCODED}@",
        f"ws://a:{ENCODED}@h/a b",
        f"mqtt+unix://a:{ENCODED}@h/path",
    ],
)
def test_a_url_that_cannot_be_read_shows_no_password(url: str) -> None:
    for make in (Client.from_url, blocking.Client.from_url):
        with pytest.raises(ValueError, match=r"^from_url: ") as caught:
            make(url)
        text = "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
        assert not any(form in text for form in (PASSWORD, ENCODED, ENCODED[:6], PASSWORD[:4]))


def test_neither_the_client_nor_its_options_show_the_password() -> None:
    client = Client.from_url(f"mqtts://a:{ENCODED}@h?client_id=c")
    shown = f"{client!r} {internals_of(client).options!r} {client.messages!r}"
    assert "'h', 8883, identifier='c'" in shown
    assert "sh" not in shown.replace("ssh", "").replace("shown", "")


def test_something_else_than_a_url_is_refused_by_its_type() -> None:
    wrong: Any = None  # as of an environment variable that is not set
    with pytest.raises(TypeError, match=r"^from_url: url must be str, not NoneType$"):
        Client.from_url(wrong)
    with pytest.raises(TypeError, match="unexpected keyword argument 'keep_alive'"):
        Client.from_url("h", keep_alive=1)


def test_a_url_as_the_host_names_from_url(run: LoopRunner) -> None:
    async def main() -> None:
        text = "the host is a URL: .*, or the URL to Client.from_url$"
        with pytest.raises(ValueError, match=text) as caught:
            await Client(f"mqtt://a:{ENCODED}@h").__aenter__()
        assert ENCODED not in str(caught.value)

    run(main)


def test_the_options_beside_a_url_are_those_of_the_constructor() -> None:
    of_client = typing.get_type_hints(Client.__init__)
    for name in ("hostname", "port", "transport", "return"):
        del of_client[name]
    assert typing.get_type_hints(ClientKeywords) == of_client
    defaults = inspect.signature(Client).parameters
    for make in (Client.from_url, blocking.Client.from_url):
        url, *options = inspect.signature(make).parameters.values()
        assert (url.name, url.default) == ("url", inspect.Parameter.empty)
        assert {it.name: it.default for it in options} == {
            name: defaults[name].default for name in of_client
        }
        assert {it.kind for it in options} == {inspect.Parameter.KEYWORD_ONLY}
        hints = typing.get_type_hints(make)
        assert {name: hints[name] for name in of_client} == of_client
        text = pydoc.render_doc(make)
        assert "keepalive: int = 60" in text
        assert "**options" not in text


def test_the_options_of_a_client_in_memory_are_those_of_the_constructor() -> None:
    keywords = typing.get_type_hints(ClientKeywords)
    identifier = keywords.pop("identifier")
    hints = typing.get_type_hints(TestBroker.client)
    assert hints == {**keywords, "identifier": identifier, "return": Client}
    parameters = inspect.signature(TestBroker.client).parameters
    assert list(parameters)[:2] == ["self", "identifier"]
    assert parameters["keepalive"].default == 60


def test_a_subclass_is_made_by_its_own_constructor() -> None:
    class Station(Client):
        def __init__(self, hostname: str, port: int = 1883, *, name: str) -> None:
            super().__init__(hostname, port)
            self.name = name

    station = Station.from_url("mqtt://h:7", name="seven")
    assert (type(station), station.name) == (Station, "seven")
    assert internals_of(station).options.port == 7


def test_it_connects_by_the_url(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        async with TestBroker() as broker, Client.from_url(broker.url) as client:
            await client.publish("a", qos=1)
        url = f"mqtts://localhost:{mosquitto.tls_port}?protocol=5"
        trusting = TLSParameters(ca_certs=str(mosquitto.ca_file))
        async with Client.from_url(url, tls_params=trusting) as client:
            topic = unique("url")
            await client.subscribe(topic)
            await client.publish(topic, "x", qos=1)
            assert (await receive(client)).payload == b"x"

    run(main)


def test_a_blocking_client_connects_by_the_url() -> None:
    with ScriptedServer(serve_311) as server:
        url = f"mqtt://{server.host}:{server.port}?client_id=c"
        with blocking.Client.from_url(url) as client:
            assert client.identifier == "c"


@pytest.mark.parametrize(
    ("url", "given", "server"),
    [
        ("mqtt://h:7", "mqtt://two", Server("two", 1883)),
        ("mqtts://h", "mqtts://[::1]:7", Server("::1", 7)),
        ("wss://h/x", "wss://two/x", Server("two", 443)),
        ("ws://h", "ws://two", Server("two", 80)),
        ("mqtt+unix:///a", "mqtt+unix:///b", Server("/b")),
    ],
)
def test_a_url_is_one_of_several_servers(url: str, given: str, server: Server) -> None:
    assert options_of(url, servers=[given]).further_servers == (server,)


@pytest.mark.parametrize(
    ("url", "given", "text"),
    [
        ("mqtts://h", "mqtt://two", "begins with mqtt:// where the client connects as by mqtts://"),
        ("mqtt://h", "mqtts://two", "begins with mqtts:// where the client connects as by mqtt://"),
        ("mqtt://h", "ws://two", "begins with ws:// where the client connects as by mqtt://"),
        ("ws://h", "mqtt+unix:///two", "begins with mqtt+unix:// where"),
        ("wss://h/x", "wss://two/y", "has another path than websocket_path"),
        ("ws://h/x", "ws://two", "has another path than websocket_path"),
        ("mqtt://h", f"mqtt://a:{ENCODED}@two", "holds credentials or a query"),
        ("mqtt://h", "mqtt://two?client_id=a", "holds credentials or a query"),
        ("mqtt://h", f"ftp://a:{ENCODED}@two", "begins with ftp://"),
    ],
)
def test_a_url_that_leads_there_in_another_way_is_refused(url: str, given: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^servers: .*{re.escape(text)}") as caught:
        Client.from_url(url, servers=[given])
    assert ENCODED not in str(caught.value)
