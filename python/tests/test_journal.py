"""What happened at the test broker: messages, packets, and what came instead of what was wanted."""

import asyncio

import pytest

from ferromqtt.testing import CONNECT, PUBACK, PUBLISH, PacketKind, TestBroker
from support.clients import receive
from test_faults import run


def test_waiting_for_a_message_tells_what_came_instead() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        broker.sends(PUBACK).nth(2).lose()
        async with broker.client("c") as client:
            await client.publish("site/7/level", '{"level": 28.5}', qos=1, retain=True)
            await client.publish("site/8/level", '{"level": 28.4}')
            found = await broker.wait_for("site/+/level", count=2)
            assert [message.json() for message in found] == [{"level": 28.5}, {"level": 28.4}]
            await broker.wait_for("site/7/level", json={"level": 28.5}, qos=1, retain=True)
            broker.check_published("site/8/level", '{"level": 28.4}')
            broker.check_published("nothing", times=0)
            with pytest.raises(AssertionError) as raised:
                await broker.wait_for("site/7/level", json={"level": 28.4}, within="1s")
            text = str(raised.value)
            assert text.startswith(
                'no message matched within 1 s   topic "site/7/level"  json {"level": 28.4}\n'
                '  near:  site/7/level  {"level": 28.5}   level: 28.5 is not 28.4   +0.000 s\n'
                '  near:  site/8/level  {"level": 28.4}   topic   +0.000 s\n'
            ), text
            assert "  rule never fired: sends PUBACK nth 2 lose   (1 packet matched)\n" in text
            assert 'PUBLISH (id 1, QoS 1, RETAIN, topic "site/7/level"' in text
            with pytest.raises(AssertionError, match="2 messages matched, and not 1:"):
                broker.check_published("site/#")
            with pytest.raises(AssertionError, match=r"3 times, but 2 times, within 0\.5 s"):
                await broker.wait_for("site/#", count=3, within=0.5)

    run(main())


@pytest.mark.parametrize(
    ("came", "wanted", "differs"),
    [
        ('{"a":{"b":[1,2]}}', {"a": {"b": [1, 3]}}, "a.b[1]: 2 is not 3"),
        ('{"a":[1,2]}', {"a": [1]}, "a: has 2 items, not 1"),
        ("[1]", [1, 2], "json: has 1 items, not 2"),
        ('{"a":1}', {"a": 1, "b": 2}, "b: is missing"),
        ('{"a":1,"b":null}', {"a": 1}, "b: null is not wanted"),
        ('"x"', 7, 'json: "x" is not 7'),
        ('{"on":true}', {"on": 1}, "on: true is not 1"),
        ("1", True, "json: 1 is not true"),
        ("[" * 5000, {"a": 1}, "payload: is no JSON"),
        ('{"a":"\\u001b[2J"}', {"a": ""}, 'a: "\\\\u001b[2J" is not ""'),
        ("no", {"a": 1}, "payload: is no JSON"),
        (b"\xff", {"a": 1}, "payload: is no JSON"),
        ('{"a":1}', {"a": {2}}, "a: 1 is not {2}"),
        (f'"{"x" * 100}"', 0, f'json: "{"x" * 63}… is not 0'),
    ],
)
def test_the_place_is_named_at_which_json_differs(
    came: str | bytes, wanted: object, differs: str
) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        await broker.publish("a", came)
        with pytest.raises(AssertionError) as raised:
            broker.check_published("a", json=wanted)
        assert f"   {differs.replace(chr(92) * 2, chr(92))}   +" in str(raised.value)

    run(main())


def test_json_in_another_spelling_is_no_difference() -> None:
    """Each message is held against what is wanted as a value, not as bytes."""

    async def main() -> None:
        broker = TestBroker(listen=False)
        for topic in ("a", "a", "a", "$a", "b"):
            await broker.publish(topic, '{ "level": 28.40 }', qos=1, retain=topic == "b")
        broker.check_published("a", json={"level": 28.4}, times=3)
        with pytest.raises(AssertionError) as raised:
            broker.check_published("a", json={"level": 28.4}, qos=0, retain=True)
        head, *near = str(raised.value).splitlines()[:4]
        assert head == 'no message matched   topic "a"  json {"level": 28.4}  QoS 0  RETAIN true'
        assert all("   QoS: 1 is not 0, RETAIN: false is not true   +" in line for line in near)
        with pytest.raises(AssertionError, match="   QoS: 1 is not 2   ") as raised:
            broker.check_published("$a", json={"level": 28.4}, qos=2)

    run(main())


def test_that_nothing_came_is_not_said_of_a_broker_that_is_not_idle() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        rule = broker.receives(PUBLISH).hold()
        async with broker.client("c") as client:
            publishing = asyncio.create_task(client.publish("a", b"1", qos=1))
            await asyncio.sleep(1)
            with pytest.raises(AssertionError, match=r"await broker\.idle\(\) first, or") as raised:
                broker.check_published("a", times=0)
            assert "PUBLISH (id 1" in raised.value.__notes__[0]
            assert broker.published("a") == []
            rule.release()
            await publishing
            await broker.idle()
            broker.check_published("b", times=0)
            broker.check_published("a")

    run(main())


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        ({"payload": 28.4}, TypeError, "payload must be str, bytes or None .json= is for values"),
        ({"topic": None}, TypeError, "topic must be str, not None"),
        ({"qos": "1"}, ValueError, "qos must be 0, 1 or 2, not str"),
        ({"qos": 5}, ValueError, "qos must be 0, 1 or 2, not 5"),
        ({"retain": "yes"}, TypeError, "retain must be bool or None"),
        ({"times": "1"}, TypeError, "times must be int"),
        ({"times": -1}, ValueError, "times must be 0 or more, not -1"),
        ({"count": 0}, ValueError, "count must be 1 or more, not 0"),
    ],
)
def test_what_cannot_be_wanted_of_messages_is_refused(
    wanted: dict[str, object], error: type[Exception], words: str
) -> None:
    """Otherwise `times=0` would pass, since nothing is like that."""
    terms: dict[str, object] = {"topic": "alarm", "times": 0, **wanted}

    async def main() -> None:
        broker = TestBroker(listen=False)
        if "count" not in terms:
            with pytest.raises(error, match=words):
                broker.check_published(**terms)  # type: ignore[arg-type]
        if terms.pop("times") == 0:
            with pytest.raises(error, match=words):
                await broker.wait_for(**terms)  # type: ignore[arg-type]

    run(main())


def test_a_journal_that_has_lost_messages_proves_nothing() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False, journal_packets=10)
        async with broker.client("c") as client:
            await client.publish("first", "1", qos=1)
            for number in range(10):
                await client.publish("other", str(number), qos=1)
            await broker.idle()
            with pytest.raises(AssertionError, match="holds the newest 10 of 11 messages"):
                broker.check_published("first", times=0)
        none = TestBroker(listen=False, journal_packets=0)
        async with none.client("c") as client:
            await client.publish("first", "1", qos=1)
            await none.idle()
            with pytest.raises(AssertionError, match="keeps no journal"):
                none.check_published("first", times=0)

    run(main())


def test_waiting_for_many_messages_looks_at_each_once() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False, journal_packets=100)
        async with broker.client("c") as client:
            await client.publish("n", "0")
            waiting = asyncio.create_task(broker.wait_for("n", count=300))
            for number in range(1, 300):
                await client.publish("n", str(number), qos=1)
            found = await waiting
        assert [message.payload for message in found] == [b"%d" % n for n in range(300)]

    run(main())


def test_packets_are_told_apart_by_kind_client_and_side() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("a") as one, broker.client("b") as other:
            await other.subscribe("t", qos=1)
            await one.publish("t", b"x", qos=1)
            assert (await receive(other)).payload == b"x"
            await broker.idle()
        sent = broker.packets(PUBLISH, side="sends")
        assert [(packet.client, packet.topic, packet.payload) for packet in sent] == [
            ("b", "t", b"x")
        ]
        assert str(sent[0]).startswith('PUBLISH (id 1, QoS 1, topic "t", payload 1 byte "x"')
        assert "'x'" not in repr(sent[0])
        kinds = [packet.kind for packet in broker.packets(client="a")]
        assert kinds[0] is PacketKind.CONNECT
        assert PacketKind.PUBACK in kinds
        assert broker.packets(CONNECT)[0].at <= sent[0].at

    run(main())


def test_a_passwords_mark_is_all_that_the_journal_has() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("a", username="u", password="s3cr3t"):
            pass
        shown = broker.chart() + repr(broker.packets()) + "".join(map(str, broker.packets()))
        assert "s3cr3t" not in shown

    run(main())
