"""An option of the wrong type is named, with what it must be and what was given."""

import asyncio
import re
import ssl
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ferromqtt import Client, Message, ProxySettings, TLSParameters, Wildcard, Will
from ferromqtt.testing import TestBroker
from support.loops import LoopRunner

OR_GIVE_V5 = "or give protocol=ProtocolVersion.V5"
NO_CLEAN_SESSION = "Clean session is not used for MQTT 5.0."
NO_SEMAPHORE = "Semaphore initial value must be >= 0."
WILDCARDS = "a topic to publish to cannot contain the wildcards + and #"
SURROGATE = "must be valid Unicode text: it has a lone surrogate."
SOCKET_OPTIONS = "a list of (level, option, value) tuples"
WRONG_TYPES: list[tuple[str, Any, str, str]] = [
    ("hostname", 5, "str", "int"),
    ("port", "1883", "int", "str"),
    ("port", 1883.0, "int", "float"),
    ("port", None, "int", "NoneType"),
    ("port", True, "int", "bool"),
    ("bind_port", True, "int", "bool"),
    ("keepalive", True, "int", "bool"),
    ("max_inflight_messages", True, "int", "bool"),
    ("max_concurrent_outgoing_calls", True, "int", "bool"),
    ("maximum_non_publish_size", True, "int", "bool"),
    ("properties", "x", "Properties or a dict", "str"),
    ("username", 5, "str", "int"),
    ("password", 5, "str or bytes", "int"),
    ("logger", "x", "a logging.Logger", "str"),
    ("identifier", 5, "str", "int"),
    ("queue_type", asyncio.Queue(), "a class like asyncio.Queue", "Queue"),
    ("protocol", "five", '"auto", or ProtocolVersion.V31, V311 or V5 (3, 4 or 5)', "str"),
    ("will", {"topic": "a"}, "a Will", "dict"),
    ("clean_session", "no", "bool", "str"),
    ("transport", 5, "str", "int"),
    ("timeout", "5", "a number of seconds", "str"),
    ("keepalive", "1", "int", "str"),
    ("bind_address", 5, "str", "int"),
    ("bind_port", "5", "int", "str"),
    ("clean_start", "yes", "True, False or 3", "str"),
    ("max_queued_incoming_messages", 1.5, "int", "float"),
    ("max_inflight_messages", "5", "int", "str"),
    ("max_concurrent_outgoing_calls", "5", "int", "str"),
    ("tls_context", True, "an ssl.SSLContext", "bool"),
    ("tls_params", {"ca_certs": "a"}, "TLSParameters", "dict"),
    ("tls_insecure", "no", "bool", "str"),
    ("proxy", {"proxy_type": 1}, "ProxySettings", "dict"),
    ("socket_options", 5, SOCKET_OPTIONS, "int"),
    ("socket_options", [5], SOCKET_OPTIONS, "int"),
    ("socket_options", "abc", SOCKET_OPTIONS, "str"),
    ("socket_options", [(1, 2)], SOCKET_OPTIONS, "(1, 2)"),
    ("socket_options", [(1, "2", 3)], SOCKET_OPTIONS, "(1, '2', 3)"),
    ("socket_options", [(1, 2, "3")], SOCKET_OPTIONS, "(1, 2, '3')"),
    ("websocket_path", 5, "str", "int"),
    ("websocket_headers", 5, "a dict or a function", "int"),
    ("will_on_error", "no", "bool", "str"),
    ("authenticator", b"x", "a function", "bytes"),
    ("strict", "no", "bool", "str"),
    ("manual_ack", "no", "bool", "str"),
    ("maximum_non_publish_size", "5", "int", "str"),
    ("tls_server_hostname", 5, "str", "int"),
]


@pytest.mark.parametrize(("option", "given", "must_be", "was"), WRONG_TYPES)
def test_an_option_of_the_wrong_type_is_named_1_2(
    option: str,
    given: Any,  # noqa: ANN401
    must_be: str,
    was: str,
) -> None:
    options = {"hostname": "localhost", option: given}
    with pytest.raises(TypeError, match=f"^{re.escape(f'{option} must be {must_be}, not {was}')}$"):
        Client(**options)


def test_a_queue_size_of_the_wrong_type_is_named_1_2() -> None:
    wrong = r"^queue_size should be an int\. max_queued_outgoing_messages must be int, not str\.$"
    with pytest.raises(TypeError, match=wrong):
        Client("localhost", max_queued_outgoing_messages="5")  # type: ignore[arg-type]


class Number:
    """As numbers of NumPy are."""

    def __index__(self) -> int:
        return 7


def make_queue(maxsize: int) -> asyncio.Queue[Message]:
    return asyncio.Queue(maxsize)


def test_what_stands_for_the_type_is_taken_1_2() -> None:
    number: Any = Number()
    Client(
        "localhost",
        keepalive=number,
        max_inflight_messages=number,
        socket_options=[(1, number, b""), [1, 2, None, number]],  # type: ignore[list-item]
        tls_context=ssl.create_default_context(),
        timeout=True,
        will=Will("a"),
        queue_type=make_queue,  # type: ignore[arg-type]
    )
    Client(
        "localhost", tls_params=TLSParameters(), proxy=ProxySettings(proxy_type=1, proxy_addr="h")
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"port": 0}, "Invalid port number. port must be in the range 1-65535, not 0."),
        ({"port": 65536}, "Invalid port number. port must be in the range 1-65535, not 65536."),
        ({"keepalive": 65536}, "keepalive must be in the range 0-65535, not 65536."),
        ({"hostname": ""}, "Invalid host. hostname must not be empty."),
        (
            {"bind_port": -1},
            "Invalid bind port number. bind_port must be in the range 0-65535, not -1.",
        ),
        ({"clean_start": True}, f"Clean start only applies to MQTT V5: leave it out, {OR_GIVE_V5}"),
    ],
)
def test_a_value_out_of_range_is_named_on_enter_1_2(options: dict[str, Any], text: str) -> None:
    async def main() -> None:
        client = Client(**({"hostname": "localhost"} | options))
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            await client.__aenter__()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"max_inflight_messages": -1},
            "Invalid inflight. max_inflight_messages must be >=0, not -1.",
        ),
        (
            {"maximum_non_publish_size": 0},
            "maximum_non_publish_size must be in the range 1-4294967295, not 0.",
        ),
        (
            {"identifier": "a" * 65536},
            "identifier must have at most 65535 bytes of UTF-8, not 65536.",
        ),
        ({"username": "\ud800"}, f"username {SURROGATE}"),
        ({"identifier": "\ud800"}, f"identifier {SURROGATE}"),
        ({"will": Will("\ud800")}, f"will topic {SURROGATE}"),
        ({"username": "a", "password": "\ud800"}, f"password {SURROGATE}"),
        (
            {"max_concurrent_outgoing_calls": -1},
            f"{NO_SEMAPHORE} max_concurrent_outgoing_calls must be >=0, not -1.",
        ),
        (
            {"protocol": 5, "clean_session": True},
            f"{NO_CLEAN_SESSION} clean_session must be left out there, not True: give clean_start.",
        ),
        ({"will": Will("a\0")}, 'will topic must not contain U+0000: "a\\x00".'),
        ({"identifier": "a\0"}, 'identifier must not contain U+0000: "a\\x00".'),
        ({"username": "a\0"}, "username must not contain U+0000."),
        ({"will": Will("a/#")}, "will topic must not contain wildcards: 'a/#'."),
        (
            {"proxy": ProxySettings(proxy_type=7, proxy_addr="h")},
            "proxy_type and/or proxy_addr are invalid. proxy_type must be 1, 2 or 3, not 7.",
        ),
        (
            {"transport": "tls\n"},
            'transport must be "websockets", "tcp" or "unix", not tls\\n',
        ),
        (
            {"protocol": 7},
            'protocol must be "auto", or ProtocolVersion.V31, V311 or V5 (3, 4 or 5), not 7',
        ),
    ],
)
def test_a_value_out_of_range_is_named_1_2(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Client("localhost", **options)


@pytest.mark.parametrize(
    ("name", "must_be"), [("proxy_username", "str"), ("proxy_password", "str or bytes")]
)
def test_credentials_of_a_proxy_that_are_no_text_are_named_1_2(name: str, must_be: str) -> None:
    def client(value: object) -> Client:
        given: Any = {name: value}
        return Client("localhost", proxy=ProxySettings(proxy_type=2, proxy_addr="h", **given))

    with pytest.raises(TypeError, match=f"^{name} must be {must_be}, not list$"):
        client(["s3cret"])
    with pytest.raises(ValueError, match=f"^{name} must be valid Unicode text: ") as caught:
        client("s3cret\ud800")
    assert "s3cret" not in repr(caught.value)


@pytest.mark.parametrize(
    ("threshold", "error", "text"),
    [
        (1.5, TypeError, "pending_calls_threshold must be int, not float"),
        (None, TypeError, "pending_calls_threshold must be int, not NoneType"),
        (-5, ValueError, f"pending_calls_threshold must be in the range 0-{sys.maxsize}, not -5."),
        (
            1 << 20_000,
            ValueError,
            f"pending_calls_threshold must be in the range 0-{sys.maxsize}, not a larger number.",
        ),
    ],
    ids=["float", "None", "negative", "huge"],
)
def test_a_threshold_that_is_no_count_says_what_it_must_be_1_2(
    threshold: Any,  # noqa: ANN401
    error: type[Exception],
    text: str,
) -> None:
    client = Client("localhost")
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        client.pending_calls_threshold = threshold
    assert client.pending_calls_threshold == 10


def test_repr_of_proxy_settings_has_no_password_1_2() -> None:
    settings = ProxySettings(proxy_type=2, proxy_addr="h", proxy_username="ann")
    shown = "proxy_type=2, proxy_addr='h', proxy_rdns=True, proxy_username='ann', proxy_port=None"
    assert repr(settings) == f"ProxySettings({shown})"
    settings.proxy_args["proxy_password"] = "s3cret"
    assert repr(settings) == f"ProxySettings({shown}, proxy_password=(not shown))"


NO_OPTIONS = "Subscribe options must be instance of SubscribeOptions class."
SUBSCRIBE_OPTIONS = (
    "Subscribe options must be instance of SubscribeOptions class. On MQTT 5.0 they are `options`, "
    "or stand in a pair beside the topic, and must not be int; a QoS may stand in a list of pairs."
)
PAYLOAD = (
    "payload must be a string, bytearray, int, float or None. It may be bytes or a memoryview too, "
    "but not dict: encode it first, for example by json.dumps."
)
TOO_LONG = (
    f'Invalid subscription filter. "{"a" * 100}"...: it must have at most 65535 bytes of UTF-8, '
    "not 65536."
)
FILTER = "topic must be str, Topic, Wildcard or TopicTemplate, or a list of them, not "
WRONG_CALLS: list[tuple[Callable[[Client], Coroutine[Any, Any, object]], str]] = [
    (lambda it: it.publish("a", timeout="5"), "timeout must be a number of seconds, not str"),  # type: ignore[arg-type]
    (lambda it: it.publish(""), "Invalid topic. topic must not be empty."),
    (
        lambda it: it.publish(None),  # type: ignore[arg-type]
        "Invalid topic. topic must be str or Topic, not NoneType.",
    ),
    (lambda it: it.publish("\ud800"), f"topic {SURROGATE}"),
    (
        lambda it: it.subscribe("a\x1b[31m#"),
        'Invalid subscription filter. "a\\x1b[31m#": # must stand alone in the last level.',
    ),
    (lambda it: it.publish("a\0"), 'topic must not contain U+0000: "a\\0".'),
    (
        lambda it: it.publish("a/#"),
        'Publish topic cannot contain wildcards. topic must have neither + nor #: "a/#".',
    ),
    (
        lambda it: it.subscribe("a\0"),
        r'Invalid subscription filter. "a\x00": it must not contain U+0000.',
    ),
    (
        lambda it: it.publish("a", properties={"MessageExpiryInterval": 1.5}),
        "Property MessageExpiryInterval value must be int, not float",
    ),
    (
        lambda it: it.publish("a", properties={"MessageExpiryInterval": "60"}),
        "Property MessageExpiryInterval value must be int, not str",
    ),
    (
        lambda it: it.publish("a" * 65_536),
        "Publish topic is too long. topic must have at most 65535 bytes of UTF-8, not 65536.",
    ),
    (
        lambda it: it.publish("a", properties={"ResponseTopic": "a/#"}),
        f"Property ResponseTopic cannot be published to: {WILDCARDS}",
    ),
    (
        lambda it: it.subscribe("\ud800"),
        "Invalid subscription filter. It must be valid Unicode text: it has a lone surrogate.",
    ),
    (lambda it: it.subscribe([]), "Empty topic list. topic must name at least one filter."),
    (lambda it: it.unsubscribe(""), "Invalid topic. topic must not be empty."),
    (lambda it: it.publish("a", qos=3), "Invalid QoS level. qos must be 0, 1 or 2, not 3."),
    (lambda it: it.publish("a", 0, b"x"), "Invalid QoS level. qos must be 0, 1 or 2, not bytes."),  # type: ignore[arg-type]
    (
        lambda it: it.publish("a", {}),  # type: ignore[arg-type]
        PAYLOAD,
    ),
    (lambda it: it.publish(b"a"), "topic must be str or Topic, not bytes"),  # type: ignore[arg-type]
    (lambda it: it.publish(Wildcard("a")), "topic must be str or Topic, not Wildcard"),  # type: ignore[arg-type]
    (lambda it: it.subscribe("a", timeout="5"), "timeout must be a number of seconds, not str"),  # type: ignore[arg-type]
    (lambda it: it.subscribe("a", "1"), "Invalid QoS level. qos must be 0, 1 or 2, not str."),  # type: ignore[arg-type]
    (lambda it: it.subscribe(("a", 1)), SUBSCRIBE_OPTIONS),
    (
        lambda it: it.subscribe(("a", "b")),  # type: ignore[arg-type]
        f"{NO_OPTIONS} A tuple is one filter with its options: give several filters as a list.",
    ),
    (
        lambda it: it.subscribe(b"a"),  # type: ignore[arg-type]
        f"No topic specified, or incorrect topic type. {FILTER}bytes.",
    ),
    (
        lambda it: it.subscribe("a#"),
        'Invalid subscription filter. "a#": # must stand alone in the last level.',
    ),
    (
        lambda it: it.subscribe("#/a"),
        'Invalid subscription filter. "#/a": # must stand alone in the last level.',
    ),
    (
        lambda it: it.subscribe("a/b+"),
        'Invalid subscription filter. "a/b+": + must stand alone in its level.',
    ),
    (
        lambda it: it.subscribe("$share/a"),
        'Invalid subscription filter. "$share/a": a shared subscription is $share/name/filter.',
    ),
    (lambda it: it.subscribe(""), "Invalid subscription filter. It must not be empty."),
    (
        lambda it: it.subscribe("a" * 65_536),
        TOO_LONG,
    ),
    (lambda it: it.unsubscribe([5]), f"Invalid topic. {FILTER}int."),  # type: ignore[list-item]
    (
        lambda it: it.unsubscribe(("a", "b")),  # type: ignore[arg-type]
        f"No topic specified, or incorrect topic type. {FILTER}tuple.",
    ),
]


@pytest.mark.parametrize(("call", "text"), WRONG_CALLS)
def test_a_wrong_argument_of_a_call_is_named_1_3(
    run: LoopRunner, call: Callable[[Client], Coroutine[Any, Any, object]], text: str
) -> None:
    async def main() -> None:
        async with (
            TestBroker() as broker,
            Client(broker.host, broker.port, protocol=5) as client,
        ):
            with pytest.raises((TypeError, ValueError)) as caught:
                await call(client)
            assert str(caught.value) == text
            await client.subscribe("a")  # the connection lives

    run(main)


VERIFY = "ssl.CERT_NONE, ssl.CERT_OPTIONAL or ssl.CERT_REQUIRED"
TLS_VERSION = "ssl.PROTOCOL_TLS_CLIENT, or another ssl.PROTOCOL_* for clients"


@pytest.mark.parametrize(
    ("parameters", "error", "text"),
    [
        ({"cert_reqs": "CERT_NONE"}, TypeError, f"cert_reqs must be {VERIFY}, not str"),
        ({"cert_reqs": 7}, ValueError, f"cert_reqs must be {VERIFY}, not 7."),
        ({"tls_version": "TLSv1.2"}, TypeError, f"tls_version must be {TLS_VERSION}, not str"),
        ({"tls_version": 3}, ValueError, f"tls_version must be {TLS_VERSION}, not 3."),
        (
            {"tls_version": ssl.TLSVersion.TLSv1_3},
            ValueError,
            f"tls_version must be {TLS_VERSION}, not <TLSVersion.TLSv1_3: 772>.",
        ),
        (
            {"tls_version": ssl.PROTOCOL_TLS_SERVER},
            ValueError,
            f"tls_version must be {TLS_VERSION}, not {ssl.PROTOCOL_TLS_SERVER!r}.",
        ),
        ({"ciphers": 3}, TypeError, "ciphers must be str, not int"),
        ({"keyfile_password": 3}, TypeError, "keyfile_password must be str or bytes, not int"),
        (
            {"keyfile": "key.pem"},
            ValueError,
            "keyfile needs certfile: give the certificate that the key belongs to.",
        ),
        *(
            (
                {"certfile": "a.pem", name: "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n"},
                ValueError,
                f"{name} must be the path of a file, not what it holds.",
            )
            for name in ("ca_certs", "certfile", "keyfile")
        ),
    ],
)
def test_tls_parameters_that_make_no_context_are_named_by_the_constructor_1_2(
    parameters: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(f'tls_params: {text}')}$"):
        Client("localhost", tls_params=TLSParameters(**parameters))


@pytest.mark.parametrize(
    ("given", "must_be", "was"),
    [
        ({"proxy_port": True}, "proxy_port must be int", "bool"),
        ({"proxy_username": object()}, "proxy_username must be str", "object"),
        ({"proxy_password": 5}, "proxy_password must be str or bytes", "int"),
    ],
)
def test_a_proxy_setting_of_the_wrong_type_is_named_1_2(
    given: dict[str, Any], must_be: str, was: str
) -> None:
    proxy = ProxySettings(proxy_type=2, proxy_addr="h", **given)
    with pytest.raises(TypeError, match=f"^{must_be}, not {was}$"):
        Client("localhost", proxy=proxy)


@pytest.mark.parametrize(
    ("queue_type", "why"),
    [
        (list, "list: list() takes no keyword arguments"),
        (dict, "dict, which has no put_nowait and get"),
    ],
)
def test_a_class_that_makes_no_queues_is_named_1_2(queue_type: Any, why: str) -> None:  # noqa: ANN401
    text = f"queue_type must be a class like asyncio.Queue, not {why}"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        Client("localhost", queue_type=queue_type)


def test_a_file_that_is_no_path_is_named_1_2() -> None:
    with pytest.raises(TypeError, match=r"^tls_params: ca_certs must be str or a path, not int$"):
        Client("localhost", tls_params=TLSParameters(ca_certs=5))  # type: ignore[arg-type]


def test_a_version_as_text_is_refused_with_the_number() -> None:
    with pytest.raises(TypeError, match=r"\(3, 4 or 5\), not '5'$"):
        Client("localhost", protocol="5")  # type: ignore[arg-type]
