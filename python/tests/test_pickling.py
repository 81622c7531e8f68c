"""The small types can be copied, pickled and told apart (contract 1.7)."""

import copy
import pickle
from typing import Any

import pytest

from ferromqtt import (
    Message,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttReentrantError,
    MqttTimeoutError,
    PacketTypes,
    Properties,
    ProtocolVersion,
    ProxySettings,
    ReasonCode,
    SubscribeOptions,
    TLSParameters,
    Topic,
    Wildcard,
    Will,
)

EQUAL: list[Any] = [
    Topic("a/b"),
    Wildcard("a/#"),
    Will("a", b"x", 1, True),
    TLSParameters("ca.pem"),
    ProtocolVersion.V5,
    ReasonCode(PacketTypes.SUBACK, identifier=135),
]
ERRORS: list[MqttError] = [
    MqttError("a", 1),
    MqttTimeoutError(),
    MqttReentrantError("again"),
    MqttCodeError(4, "Could not publish message"),
    MqttCodeError(ReasonCode(PacketTypes.PUBACK, identifier=151), "refused"),
    MqttCodeError(None, "something"),
    MqttConnectError(5),
    MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=135)),
]
WAYS = [
    copy.copy,
    copy.deepcopy,
    *(lambda it, n=n: pickle.loads(pickle.dumps(it, n)) for n in (2, 5)),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", EQUAL, ids=repr)
def test_values_are_equal_to_their_copies_1_7(value: Any, way: Any) -> None:  # noqa: ANN401
    made = way(value)
    assert type(made) is type(value)
    assert made == value
    assert hash(made) == hash(value)
    assert (str(made), repr(made)) == (str(value), repr(value))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_errors_say_the_same_in_another_process_1_7(error: MqttError, way: Any) -> None:  # noqa: ANN401
    error.delivery = "unknown"
    made = way(error)
    assert type(made) is type(error)
    assert (str(made), made.args, made.delivery) == (str(error), error.args, "unknown")
    assert getattr(made, "rc", None) == getattr(error, "rc", None)


@pytest.mark.parametrize("way", WAYS)
def test_properties_options_and_settings_keep_what_they_hold_1_7(way: Any) -> None:  # noqa: ANN401
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = ("a", "b")
    properties.CorrelationData = b"\x00"
    assert way(properties).json() == properties.json()
    options = SubscribeOptions(2, True, True, 1)
    assert way(options).json() == options.json()
    settings = ProxySettings(proxy_type=1, proxy_addr="127.0.0.1", proxy_password="p")
    assert way(settings).proxy_args == settings.proxy_args
    message = Message("a", b"x", 1, True, 9, properties)
    made = way(message)
    assert (made.topic, made.payload, made.qos, made.retain, made.mid) == (
        *(Topic("a"), b"x", 1, True),
        9,
    )
    assert made.properties.json() == properties.json()


def test_a_message_has_no_equality_1_7() -> None:
    message = Message("a", b"s3cr3t", 0, False, 0, None)
    assert message != Message("a", b"s3cr3t", 0, False, 0, None)
    with pytest.raises(TypeError):
        assert message < 1  # type: ignore[operator]


def test_constructor_of_a_message_takes_any_topic_1_7() -> None:
    assert Message("a/b", b"", 0, False, 0, None).topic == Topic("a/b")
    assert Message(Topic("a/b"), b"", 0, False, 0, None).topic == Topic("a/b")
    with pytest.raises(TypeError, match=r"^Topic must be of type str, not [a-zA-Z]+$"):
        Message(b"a", b"", 0, False, 0, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Message("a")  # type: ignore[call-arg]


def test_hash_at_the_start_matches_dollar_topics_1_7() -> None:
    """Against the standard, as programs of the original expect; routing in the core differs."""
    assert Topic("$SYS/broker/uptime").matches("#")
    assert Topic("$SYS/broker/uptime").matches("+/broker/#")
    assert Topic("a//b").matches("a/+/b")
    assert Topic("a").matches("a/#")


def test_shared_prefix_is_cut_off_unchecked_1_7() -> None:
    assert Topic("b/c").matches("$share/a/b/c")
    assert Topic("b/c").matches("$share//b/c")
    assert not Topic("a/b/c").matches("$share/a/b/c")
    with pytest.raises(ValueError, match=r"^Invalid wildcard: \$share/a/b#$"):
        Topic("b").matches("$share/a/b#")


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_a_message_keeps_its_dup_flag(way: Any) -> None:  # noqa: ANN401
    message = Message("a", b"x", 1, False, 1, None)
    assert message.dup is False
    message.dup = True
    assert way(message).dup is True


def test_a_message_that_was_pickled_without_its_dup_flag_is_read() -> None:
    message = Message("a", b"x", 1, False, 1, None)
    function, arguments, (fields, added, _) = message.__reduce__()  # type: ignore[misc]
    made = function(*arguments)  # type: ignore[operator]
    made.__setstate__((fields, added))
    assert (str(made.topic), made.payload, made.dup) == ("a", b"x", False)
