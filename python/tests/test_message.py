"""Message, Will, ProtocolVersion and the other small types (contract 1.7)."""

import asyncio
import copy
import dataclasses
import pickle
from collections.abc import Callable

import pytest

from ferromqtt import (
    Message,
    PacketTypes,
    Properties,
    ProtocolVersion,
    ProxySettings,
    TLSParameters,
    Topic,
    Will,
)
from ferromqtt.types import PayloadType


def test_message_attributes_1_7() -> None:
    message = Message("a/b", b"payload", 1, True, 7, None)
    assert message.topic == Topic("a/b")
    assert message.payload == b"payload"
    assert (message.qos, message.retain, message.mid, message.properties) == (1, True, 7, None)


def test_message_takes_a_topic_object_and_keywords_1_7() -> None:
    topic = Topic("a")
    message = Message(topic=topic, payload=b"", qos=0, retain=False, mid=0, properties=None)
    assert message.topic is topic


def test_message_refuses_an_invalid_topic_1_7() -> None:
    with pytest.raises(ValueError, match=r"^Invalid topic: a/#$"):
        Message("a/#", b"", 0, False, 0, None)


def test_messages_are_ordered_by_packet_identifier_1_7() -> None:
    first = Message("b", b"", 0, False, 1, None)
    second = Message("a", b"", 0, False, 2, None)
    assert first < second
    assert not second < first
    assert sorted([second, first]) == [first, second]


def test_messages_break_ties_in_a_priority_queue_1_7() -> None:
    queue: asyncio.PriorityQueue[tuple[int, Message]] = asyncio.PriorityQueue()
    second, first = (Message("a", b"", 1, False, mid, None) for mid in (2, 1))
    queue.put_nowait((5, second))
    queue.put_nowait((5, first))
    assert queue.get_nowait()[1] is first


def test_messages_with_equal_content_are_not_equal_1_7() -> None:
    one, other = (Message("a", b"", 0, False, 0, None) for _ in range(2))
    assert one != other
    assert one == one  # noqa: PLR0124
    assert len({one, other}) == 2


@pytest.mark.parametrize("copied", [copy.copy, lambda message: pickle.loads(pickle.dumps(message))])
def test_messages_can_be_copied_and_pickled_1_7(copied: Callable[[Message], Message]) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "text/plain"
    message = Message("a/b", b"payload", 1, True, 7, properties)
    other = copied(message)
    assert other is not message
    assert (other.topic, other.payload, other.qos) == (message.topic, message.payload, message.qos)
    assert (other.retain, other.mid) == (message.retain, message.mid)
    assert other.properties is not None
    assert other.properties.ContentType == "text/plain"


def test_will_defaults_and_frozen_1_7() -> None:
    will = Will("a")
    expected = {"topic": "a", "payload": None, "qos": 0, "retain": False, "properties": None}
    found = {field.name: getattr(will, field.name) for field in dataclasses.fields(will)}
    assert {name: found.pop(name) for name in expected} == expected
    assert set(found.values()) == {None}, "further ones are left out by default"
    with pytest.raises(dataclasses.FrozenInstanceError):
        will.topic = "b"  # type: ignore[misc]


def test_tls_parameters_defaults_and_frozen_1_7() -> None:
    parameters = TLSParameters()
    names = [field.name for field in dataclasses.fields(parameters)]
    assert names == [
        *("ca_certs", "certfile", "keyfile", "cert_reqs", "tls_version", "ciphers"),
        "keyfile_password",
    ]
    assert all(getattr(parameters, name) is None for name in names)
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters.ca_certs = "b"  # type: ignore[misc]


def test_protocol_version_values_1_7() -> None:
    assert {version.name: int(version) for version in ProtocolVersion} == {
        "V31": 3,
        "V311": 4,
        "V5": 5,
    }


def test_secrets_do_not_show_in_a_repr_1_2() -> None:
    proxy = ProxySettings(
        proxy_type=2, proxy_addr="127.0.0.1", proxy_username="u", proxy_password="s3cr3t"
    )
    assert proxy.proxy_args["proxy_password"] == "s3cr3t"
    assert "s3cr3t" not in repr(proxy)


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"hi", "b'hi'"),
        (b"", "b''"),
        (b"x" * 32, f"b'{'x' * 32}'"),
        (b"x" * 33, f"b'{'x' * 32}'... 33 bytes"),
        (b"\x00" * 1000, f"b'{chr(92)}x00{f'{chr(92)}x00' * 31}'... 1000 bytes"),
        (bytearray(b"hi"), "bytearray(b'hi')"),
        ("s" * 33, f"'{'s' * 32}'... 33 characters"),
        (None, "None"),
        (1.5, "1.5"),
        pytest.param(10**5000, "<int>", id="a number that Python does not write out"),
        ({"key": "value"}, "<dict>"),
        (Message("b", b"inner", 0, False, 0, None), "<Message>"),
    ],
)
def test_repr_of_a_message_shows_32_bytes_of_the_payload_and_its_length(
    payload: object, shown: str
) -> None:
    message = Message("a/b", payload, 1, False, 7, None)
    assert repr(message) == str(message) == f"Message('a/b', {shown}, qos=1)"


def test_repr_of_a_message_names_its_class_and_tells_retained_ones() -> None:
    class Own(Message):
        pass

    assert repr(Own("a", b"x", 0, True, 0, None)) == "Own('a', b'x', qos=0, retain=True)"
    assert repr(Message.__new__(Message)) == "Message(None, None, qos=None)"


@pytest.mark.parametrize(
    ("payload", "shown"),
    [("secret", "<6 bytes>"), (b"x", "<1 byte>"), (None, "None"), (5, "<int>")],
)
def test_repr_of_a_will_shows_the_length_of_the_payload(payload: PayloadType, shown: str) -> None:
    properties = Properties(PacketTypes.WILLMESSAGE)
    properties.CorrelationData = b"secret"
    will = Will("w", payload, 1, True, properties)
    expected = f"Will(topic='w', payload={shown}, qos=1, retain=True, properties=<Properties>)"
    assert repr(will) == expected


@dataclasses.dataclass(frozen=True)
class Reading(Message):
    """A message of a frozen class with a field of its own."""

    unit: str = "C"

    def __init__(self, topic: str, payload: bytes, unit: str) -> None:
        super().__init__(Topic(topic), payload, 0, False, 0, None)
        object.__setattr__(self, "unit", unit)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_a_message_of_a_frozen_class_can_be_copied(copied: Callable[[Reading], Reading]) -> None:
    reading = copied(Reading("a/b", b"21", "F"))
    assert (str(reading.topic), reading.payload, reading.unit) == ("a/b", b"21", "F")
