"""Faults on demand at the test broker, in memory and in virtual time."""

import asyncio
import contextlib
import itertools
import socket

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion, Reconnect, Will
from ferromqtt.events import Disconnected
from ferromqtt.testing import (
    CONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    Fault,
    StuckError,
    TestBroker,
    VirtualLoop,
)
from support.clients import LIMIT, receive

V5 = ProtocolVersion.V5


def run(main):  # noqa: ANN001, ANN201 - any coroutine
    """Run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def test_a_lost_puback_has_the_message_sent_again() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        rule = broker.sends(PUBACK).lose().cut()
        async with broker.client("c", clean_session=False, reconnect=True) as client:
            await client.publish("a", b"1", qos=1)
        packets = broker.packets(PUBLISH)
        assert [packet.dup for packet in packets] == [False, True]
        assert [message.payload for message in broker.published("a")] == [b"1", b"1"]
        assert rule.fired == 1
        assert broker.unused_faults() == []
        assert broker.packets(PUBACK)[0].fault == "sends PUBACK lose, cut"
        assert not broker.packets(PUBACK)[0].passed

    run(main())


def test_half_open_is_noticed_by_keep_alive() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        loop = asyncio.get_running_loop()
        async with broker.client("c", keepalive=60) as client:
            broker.link("c").half_open()
            with pytest.raises(MqttError):
                await client.messages.__anext__()
            assert loop.time() <= 90 + 60
        broker.kill("c")

    run(main())


def test_a_worker_that_is_killed_gets_its_message_again() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        worker = broker.client("w", clean_session=False, manual_ack=True)
        with contextlib.suppress(MqttError):
            async with worker as client:
                await client.subscribe("jobs", qos=1)
                await broker.publish("jobs", b"1", qos=1)
                await anext(client.messages)
                assert broker.kill("w")
        async with worker as client:
            assert (await anext(client.messages)).payload == b"1"

    run(main())


def test_messages_of_a_partition_arrive_when_it_heals() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("c", reconnect=True) as client:
            broker.partition()
            with pytest.raises(ConnectionRefusedError):
                broker._ferromqtt_link(asyncio.Protocol())
            task = asyncio.create_task(client.publish("a", b"1", qos=1))
            await asyncio.sleep(5)
            assert broker.published() == []
            broker.heal()
            await broker.idle()
            assert [message.payload for message in broker.published("a")] == [b"1"]
            await task

    run(main())


def test_a_client_that_waits_to_connect_again_is_not_idle_while_it_has_messages() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("c", reconnect=True, timeout=1000) as client:
            broker.partition()
            broker.kill("c")
            task = asyncio.create_task(client.publish("a", b"1", qos=1))
            await asyncio.sleep(7)
            assert not broker.is_idle()
            broker.heal()
            await broker.idle(within=600)
            assert len(broker.published("a")) == 1
            await task

    run(main())


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_was_just_published_is_waited_for(qos: int) -> None:
    """Also a QoS 0 message, which its client has not written yet."""

    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client() as reader, broker.client() as client:
            await reader.subscribe("a", qos=qos)
            await client.publish("a", b"1", qos=qos)
            await broker.idle()
            assert len(broker.published("a")) == 1
            assert len(broker.packets(PUBLISH, side="sends")) == 1
            assert reader.stats().received == 1

    run(main())


def test_a_subscription_is_refused() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        broker.receives(SUBSCRIBE, topic="secret/#").refuse(0x87, "no entry")
        async with broker.client(protocol=V5) as client:
            refused = await client.subscribe("secret/#")
            assert [code.value for code in refused] == [0x87]
            granted = await client.subscribe("open")
            assert [code.value for code in granted] == [0]

    run(main())


def test_connections_are_refused_as_often_as_asked_for() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        broker.refuse_connections(0x89).times(3)
        async with broker.client(reconnect=Reconnect(initial=True), protocol=V5):
            at = [packet.at for packet in broker.connects()]
            assert len(at) == 4
            assert all(later > earlier for earlier, later in itertools.pairwise(at))

    run(main())


def test_a_torn_publish_is_sent_again() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        broker.receives(PUBLISH).nth(2).cut(after_bytes=5)
        async with broker.client("c", clean_session=False, reconnect=True) as client:
            for number in range(3):
                await client.publish("n", str(number), qos=2)
        assert [message.payload for message in broker.published("n")] == [b"0", b"1", b"2"]

    run(main())


def test_a_held_packet_is_released_by_its_rule() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client() as client:
            held = broker.sends(PUBACK).hold()
            task = asyncio.create_task(client.publish("a", b"1", qos=1))
            await broker.wait_for("a")
            with pytest.raises(TimeoutError, match=r"5 s: to .*: PUBACK held until it is released"):
                await broker.idle()
            assert not task.done()
            assert held.release() == 1
            await task
            await broker.idle()
            held.remove()

    run(main())


def test_every_word_of_a_rule_is_understood() -> None:
    broker = TestBroker(listen=False)
    rules = [
        broker.sends(None, client='a "\\\n', topic="a/#", qos=1, packet_id=3).nth(2).lose(),
        broker.receives(PUBLISH).times(2).after("50ms").optional().duplicate(dup=False, after=1.5),
        broker.receives(PUBLISH).always().with_probability(0.25).delay("3s"),
        broker.sends(PUBLISH).reorder(with_next=2),
        broker.sends(PUBLISH).cut(before=True, reset=True),
        broker.sends(PUBLISH).cut(after_bytes=7),
        broker.receives(CONNECT).refuse(0x89),
        broker.sends(PINGRESP).replace(b"\x00\xff"),
        broker.sends(PINGRESP).garbage(5),
        broker.sends(PINGRESP).truncate(1),
        broker.sends(PINGRESP).disconnect(0x8B),
    ]
    broker.seed_faults(7)
    assert all(isinstance(rule, Fault) and rule.fired == 0 for rule in rules)
    unused = broker.unused_faults()
    assert (
        unused[0] == 'sends any client "a \\"\\\\\\u{a}" topic "a/#" qos 1 packet_id 3 nth 2 lose'
    )
    assert unused[1:4] == [
        "sends PUBLISH reorder 2",
        "sends PUBLISH cut before reset",
        "sends PUBLISH cut after_bytes 7",
    ]
    assert len(unused) == 9, "not those that are optional or have a probability"
    assert "00ff" not in repr(rules[7])
    assert str(rules[7]) == "sends PINGRESP replace 0x00ff"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda b: b.sends(PUBACK).lose().delay(1), ValueError, "contradict each other"),
        (lambda b: b.receives(PINGREQ).refuse(0x87), ValueError, "cannot refuse PINGREQ"),
        (lambda b: b.sends(PUBLISH, topic="a/#/b").lose(), ValueError, "topic of a fault rule"),
        (lambda b: b.sends(16), ValueError, "kind must be a PacketKind, not 16"),
        (lambda b: b.sends("PUBACK"), TypeError, "kind must be a PacketKind or None, not str"),
        (lambda b: b.sends(PUBACK, client=1).lose(), TypeError, "client must be str, not int"),
        (lambda b: b.sends(PUBACK, packet_id="1"), TypeError, "packet_id must be int"),
        (lambda b: b.sends(PUBLISH, qos=3), ValueError, "Invalid QoS level"),
        (lambda b: b.sends(PUBACK).delay(-1), ValueError, "delay must be from 0 to"),
        (
            lambda b: b.sends(PUBACK).delay("3 sek"),
            ValueError,
            "'3 sek' is no duration such as '3s' or '50ms'",
        ),
        (
            lambda b: b.sends(PUBACK).nth(1 << 32).lose(),
            ValueError,
            '"4294967296" is not a whole number from 1 to 4,294,967,295',
        ),
        (lambda b: b.sends(PUBACK).always().times(1), ValueError, "always and times 1 contradict"),
        (lambda b: b.sends(PUBACK).times(2).always(), ValueError, "times 2 and always"),
        (
            lambda b: b.sends(PUBLISH, qos=0, packet_id=1).lose(),
            ValueError,
            "PUBLISH of QoS 0 has no Packet Identifier",
        ),
        (
            lambda b: b.receives(PUBLISH, topic="$share/g/a").lose(),
            ValueError,
            "is the filter of a Shared Subscription",
        ),
        (lambda b: b.sends(PUBACK).delay(None), TypeError, "delay must be a number of seconds"),
        (lambda b: b.sends(PUBACK).nth(-1), ValueError, "nth must not be negative"),
        (lambda b: b.sends(PUBACK).nth(0).lose(), ValueError, "nth of a fault rule must be"),
        (lambda b: b.sends(PUBACK).nth("1"), TypeError, "nth must be int, not str"),
        (lambda b: b.sends(PUBACK).with_probability("1"), TypeError, "probability must be"),
        (lambda b: b.sends(PUBACK).replace("x"), TypeError, "data must be bytes, not str"),
        (lambda b: b.sends(PUBACK).disconnect(300), ValueError, "reason must be in the range"),
        (lambda b: b.sends(PUBACK).disconnect("x"), TypeError, "reason must be int or ReasonCode"),
        (
            lambda b: b.sends(PUBACK).cut(before=True, after_bytes=1),
            ValueError,
            "before and after_bytes exclude each other",
        ),
        (lambda b: b.link("c").cut(), LookupError, "No client 'c' is connected to the test broker"),
        (lambda b: b.link("c").stall("up"), ValueError, "direction must be 'in' or 'out'"),
        (lambda b: b.link("c").rate("1"), TypeError, "bytes_per_second must be int or None"),
        (lambda b: b.link("c").rate(0), ValueError, "bytes_per_second must be at least 1"),
        (lambda b: b.link(1), TypeError, "client_identifier must be str, not int"),
        (lambda b: b.packets(side="up"), ValueError, "side must be 'sends' or 'receives'"),
        (lambda b: b.published("a/#/b"), ValueError, "topic: "),
        (lambda b: b.check_published("a", b"x", json=1), ValueError, "payload and json exclude"),
        (lambda b: b.seed_faults("x"), TypeError, "seed must be int"),
        (lambda b: b.send_raw("c", "x"), TypeError, "data must be bytes"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(make, error, words) -> None:  # noqa: ANN001
    broker = TestBroker(listen=False)
    with pytest.raises(error) as raised:
        make(broker)
    assert words in str(raised.value)
    rules = broker._core().unused_faults()  # without those that have no action yet
    assert rules in ([], ["sends PUBACK lose"]), "no rule is left half changed"


def test_links_are_stalled_slow_and_cut() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        loop = asyncio.get_running_loop()
        async with broker.client("c", reconnect=True) as client:
            for direction in ("in", "out"):
                broker.link("c").stall(direction)
                task = asyncio.create_task(client.publish("a", b"1", qos=1))
                await asyncio.sleep(3)
                assert not task.done()
                broker.link("c").resume(direction)
                await task
            broker.link("c").latency("1s")
            start = loop.time()
            await client.publish("a", b"1", qos=1)
            assert loop.time() - start == pytest.approx(2)
            broker.link("c").latency(0)
            broker.link("c").rate(10)
            start = loop.time()
            await client.publish("a", b"1", qos=1)  # 8 bytes there, 4 back
            assert loop.time() - start == pytest.approx(1.2)
            broker.link("c").rate(None)
            broker.link("c").cut_after(2)
            await client.publish("a", b"1", qos=1)
            assert len(broker.connects()) == 2
            broker.link("c").cut(reset=True)
            await client.publish("a", b"1", qos=1)
            assert len(broker.connects()) == 3

    run(main())


def test_the_broker_restarts_with_what_it_is_to_keep() -> None:
    async def main() -> None:
        for keep in (("sessions", "retained"), ()):
            broker = TestBroker(listen=False)
            loop = asyncio.get_running_loop()
            async with broker.client("c", clean_session=False, reconnect=True) as client:
                await client.subscribe("a", qos=1)
                await broker.publish("kept", b"1", retain=True)
                start = loop.time()
                await broker.restart("5s", keep=keep)
                assert loop.time() - start == pytest.approx(5)
                await client.wait_connected(60)
                assert broker.stats().retained_messages == len(keep) // 2
                refused = [it for it in broker.chart().splitlines() if "connection refused" in it]
                assert refused
                session = broker.session("c")
                assert session is not None
                if keep:
                    assert session.subscriptions == 1
        with pytest.raises(ValueError, match="keep must be of"):
            await broker.restart(keep=("everything",))

    run(main())


def test_sessions_are_forgotten_and_taken_over() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("watcher") as watcher:
            await watcher.subscribe("will")
            will = Will("will", b"gone")
            with contextlib.suppress(MqttError):
                async with broker.client("c", will=will, protocol=V5):
                    assert broker.take_over("c")
                    assert (await receive(watcher)).payload == b"gone"
            async with broker.client("d", clean_session=False, reconnect=True) as client:
                assert broker.forget_session("d")
                await client.publish("a", b"1", qos=1)
            assert not broker.forget_session("nobody")
            assert not broker.take_over("nobody")
            assert not broker.kill("nobody")

    run(main())


def test_bytes_are_sent_that_a_right_broker_would_not_send() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("c", protocol=V5) as client:
            assert broker.send_raw("c", b"\x30\x07\x00\x01a\x00ext")
            await client.subscribe("a")
            assert broker.send_raw("c", b"\x30\x07\x00\x01a\x00ext")
            assert (await receive(client)).payload == b"ext"
            assert not broker.send_raw("nobody", b"x")

    run(main())


def test_a_link_is_cut_from_another_thread() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("c", reconnect=True) as client:
            events = client.events()
            await asyncio.to_thread(broker.link("c").cut)
            async with asyncio.timeout(LIMIT):
                async for event in events:
                    if isinstance(event, Disconnected):
                        break

    asyncio.run(main())


def test_a_rule_without_an_action_never_fires() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        broker.sends(PUBACK).nth(5)
        rule = broker.receives(PUBLISH)
        rule.lose().optional()
        (text,) = broker.unused_faults()
        assert text.startswith("sends PUBACK nth 5 (which does nothing: end it with lose(), ")

    run(main())


def test_a_stopped_broker_makes_no_faults() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        await broker.start()
        await broker.stop()
        with pytest.raises(RuntimeError, match="The test broker is stopped"):
            broker.heal()
        assert broker.published() == []
        assert broker.packets() == []
        assert broker.chart() == ""
        assert broker.unused_faults() == []
        assert broker.is_idle()

    run(main())


def test_a_reset_and_a_refusal_are_those_of_a_socket() -> None:
    """On sockets, in real time: nothing here waits for it."""

    async def main() -> None:
        async with TestBroker() as broker:
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")
            assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
            broker.link("a").cut(reset=True)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.readexactly(1), LIMIT)
            writer.close()
            broker.partition()
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            assert await asyncio.wait_for(reader.read(), LIMIT) == b""
            writer.close()
            broker.heal()
            async with Client(broker.host, broker.port):
                pass

    asyncio.run(main())


def test_a_socket_of_a_stalled_link_is_not_read() -> None:
    async def main() -> None:
        async with TestBroker() as broker:
            stream = socket.create_connection((broker.host, broker.port))
            stream.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(stream, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a")
            assert await loop.sock_recv(stream, 4) == b"\x20\x02\x00\x00"
            broker.link("a").stall("in")
            message = b"\x30\x80\x80\x80\x10" + bytes(33_554_432)  # more than buffers hold
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_sendall(stream, message), 0.2)
            stream.close()

    asyncio.run(main())


def test_a_test_that_waits_for_nothing_is_told_so() -> None:
    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("c", keepalive=0):
            await broker._host_of_loop().changed()

    with pytest.raises(StuckError):
        run(main())
