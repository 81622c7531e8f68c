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
    assert {field.name: getattr(will, field.name) for field in dataclasses.fields(will)} == expected
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
