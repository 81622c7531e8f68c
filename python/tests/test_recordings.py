"""Recordings of clients and of the test broker, their replay, and what differs in two."""

import asyncio
import contextlib
import json
import logging
import runpy
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ferromqtt import Client, MqttError, ProtocolVersion, TLSParameters
from ferromqtt.blocking import Client as BlockingClient
from ferromqtt.testing import PINGRESP, PUBACK, PUBLISH, ReplayError, TestBroker, diff, show
from support.clients import LIMIT, receive, unique
from support.loops import LoopRunner
from support.mosquitto import PASSWORD, USERNAME, Mosquitto
from support.virtual import play

SEEDS = Path(__file__).parent / "seeds"
V5 = ProtocolVersion.V5

Program = Callable[[Client], Awaitable[None]]


def recording_broker(path: Path) -> TestBroker:
    return TestBroker(listen=False, record=path, record_payloads=True)


def replaying_broker(path: Path, again: Path) -> TestBroker:
    return TestBroker.from_recording(path, listen=False, record=again, record_payloads=True)


async def every_qos(client: Client) -> None:
    """Publish, get the messages back, and be silent for an hour meanwhile."""
    async with client:
        await client.subscribe("own/#", qos=2)
        for qos in range(3):
            await client.publish(f"own/{qos}", f"message {qos}", qos=qos)
        await asyncio.sleep(3600)
        for _ in range(3):
            await receive(client)
        await client.unsubscribe("own/#")
        await client.publish("done", qos=1, retain=True)


@pytest.mark.parametrize("protocol", [ProtocolVersion.V311, V5])
def test_a_replayed_program_gets_the_same_again_in_no_time(
    tmp_path: Path, protocol: ProtocolVersion
) -> None:
    path, again = tmp_path / "first.mqttlog", tmp_path / "again.mqttlog"

    async def main() -> None:
        async with recording_broker(path) as broker:
            await every_qos(broker.client("pump-7", protocol=protocol))
        async with replaying_broker(path, again) as broker:
            await every_qos(broker.client("pump-7", protocol=protocol))

    play(main)
    assert diff(path, again, times=True) == ""
    shown = show(path)
    assert '-> PUBLISH topic "own/2", qos 2, packet_id' in shown
    assert "PINGREQ" in shown


@pytest.mark.parametrize("program", sorted(path.name for path in SEEDS.glob("*.py")))
def test_the_recorded_program_of_a_newcomer_is_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    path, again = tmp_path / "first.mqttlog", tmp_path / "again.mqttlog"

    def run_program(broker: TestBroker) -> None:
        module = ModuleType("aiomqtt")
        module.Client = lambda _: Client(broker)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "aiomqtt", module)
        runpy.run_path(str(SEEDS / program))

    run_program(recording_broker(path))
    replaying = replaying_broker(path, again)
    run_program(replaying)
    replaying.check_replay()
    assert diff(path, again) == ""
    assert 'topic "temperature/outside"' in show(path)


def test_a_reconnecting_client_is_replayed_over_all_its_links(tmp_path: Path) -> None:
    path, again = tmp_path / "first.mqttlog", tmp_path / "again.mqttlog"

    async def program(broker: TestBroker, end: Callable[[], object] = bool) -> None:
        async with broker.client("a", protocol=V5, reconnect=True) as client:
            await client.publish("t", "1", qos=1)
            end()
            await asyncio.sleep(1)
            await client.publish("t", "2", qos=2, timeout=60)

    async def main() -> None:
        async with recording_broker(path) as broker:
            await program(broker, lambda: broker.disconnect_client("a", 0x89))
        async with replaying_broker(path, again) as broker:
            await program(broker)

    play(main)
    assert diff(path, again) == ""
    links = {json.loads(line)["link"] for line in path.read_text().splitlines()[1:]}
    assert links == {1, 2}


def test_the_client_records_what_its_broker_does(tmp_path: Path) -> None:
    """The two are the same but for what a hash leaves out."""
    by_broker, by_client = tmp_path / "broker.mqttlog", tmp_path / "client.mqttlog"

    async def main() -> None:
        async with recording_broker(by_broker) as broker:
            await every_qos(broker.client("a", protocol=V5, record=by_client))

    play(main)
    # Which of them closed first is a matter of view.
    difference = diff(by_broker, by_client)
    assert "->" not in difference, difference
    assert "<-" not in difference, difference
    assert "message 2" in by_broker.read_text()
    assert "message 2" not in by_client.read_text()


async def plain(client: Client, topic: str) -> None:
    async with client:
        await client.subscribe(topic, qos=1)
        await client.publish(topic, b"from mosquitto", qos=1)
        assert (await receive(client)).payload == b"from mosquitto"


@pytest.mark.parametrize("way", ["tcp", "tls", "websockets"])
def test_what_a_client_recorded_of_mosquitto_is_replayed(
    run: LoopRunner, mosquitto: Mosquitto, tmp_path: Path, way: str
) -> None:
    path, again = tmp_path / "first.mqttlog", tmp_path / "again.mqttlog"
    topic = unique("recorded")
    ways: dict[str, tuple[str, int, dict[str, Any]]] = {
        "tcp": (mosquitto.host, mosquitto.port, {}),
        "tls": (
            "localhost",
            mosquitto.tls_port,
            {"tls_params": TLSParameters(ca_certs=str(mosquitto.ca_file))},
        ),
        "websockets": (mosquitto.host, mosquitto.websocket_port, {"transport": "websockets"}),
    }
    host, port, options = ways[way]

    async def main() -> None:
        client = Client(
            host, port, identifier=topic, record=path, record_payloads=True, protocol=V5, **options
        )
        async with asyncio.timeout(LIMIT):
            await plain(client, topic)
        async with replaying_broker(path, again) as broker, asyncio.timeout(LIMIT):
            await plain(broker.client(topic, protocol=V5), topic)

    run(main)
    shown = show(again)
    assert "from mosquitto" in shown
    assert shown.count("<- SUBACK") == show(path).count("<- SUBACK") == 1


def test_a_recorded_login_shows_no_secret_and_is_replayed(
    run: LoopRunner, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    path = tmp_path / "login.mqttlog"
    login: dict[str, Any] = {"username": USERNAME, "password": PASSWORD, "identifier": "login"}

    async def main() -> None:
        host, port = mosquitto.host, mosquitto.login_port
        async with Client(host, port, record=path, record_payloads=True, **login) as client:
            await client.publish("t", "1", qos=1)
        async with (
            TestBroker.from_recording(path, listen=False) as broker,
            Client(broker, **login) as client,
        ):
            await client.publish("t", "1", qos=1)

    run(main)
    text = path.read_text()
    for secret in (USERNAME, PASSWORD):
        assert secret not in text
        assert secret.encode().hex() not in text
    assert '"password":"***"' in text


def test_another_program_fails_with_what_came_and_what_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "first.mqttlog"

    async def program(broker: TestBroker, topic: str) -> None:
        async with broker.client("a") as client:
            await client.publish(topic, "secret", qos=1)

    async def divide_behind(path: Path) -> None:
        async with TestBroker.from_recording(path, listen=False) as broker:
            with contextlib.suppress(MqttError):
                await program(broker, "lewel")
            _ = 1 / 0

    async def main() -> None:
        async with recording_broker(path) as broker:
            await program(broker, "level")
        with pytest.raises(ReplayError, match="packets of the recording are left"):
            async with TestBroker.from_recording(path, listen=False):
                pass
        with pytest.raises(ReplayError) as raised:
            async with TestBroker.from_recording(path, listen=False) as broker:
                await program(broker, "lewel")
        assert isinstance(raised.value.__cause__, MqttError)
        text = str(raised.value)
        start = 'the replay fails at client "a"\n  came:     -> PUBLISH topic "lewel", qos 1'
        assert text.startswith(start)
        expected = 'expected: line 5 of the recording, client "a": -> PUBLISH topic "level", qos 1'
        assert expected in text
        assert text.endswith(", payload 6 bytes")
        assert "secret" not in text
        with pytest.raises(ZeroDivisionError) as other:
            await divide_behind(path)
        (note,) = other.value.__notes__
        assert note == text
        broker = TestBroker.from_recording(path, listen=False)
        with pytest.raises(MqttError):
            await program(broker, "lewel")
        with pytest.raises(ReplayError, match="lewel"):
            broker.check_replay()

    play(main)


def test_a_blocking_client_records_too(tmp_path: Path, mosquitto: Mosquitto) -> None:
    path = tmp_path / "blocking.mqttlog"
    with BlockingClient(*mosquitto.where, record=path) as client:
        client.publish("t", "1", qos=1)
    assert "PUBACK" in show(path)


def test_a_client_that_is_entered_again_goes_on_with_its_recording(tmp_path: Path) -> None:
    path = tmp_path / "twice.mqttlog"

    async def main() -> None:
        broker = TestBroker(listen=False)
        client = broker.client("a", record=path)
        for _ in range(2):
            async with client:
                await client.publish("t", "1", qos=1)

    play(main)
    assert show(path).count("-> CONNECT") == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_recording_that_cannot_be_written_is_told_and_hurts_no_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        broker = TestBroker(listen=False, record="/dev/full")
        async with broker.client("a", record="/dev/full") as client:
            await client.publish("t", "1", qos=1)
        with pytest.raises(OSError, match="No space left"):
            await broker.stop()

    with caplog.at_level(logging.WARNING):
        play(main)
    (line,) = [it for it in caplog.messages if "recording" in it]
    assert line.startswith("the recording has ended, because it cannot be written: No space left")


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    wrong: Any = 5
    nowhere = tmp_path / "nowhere" / "file"
    with pytest.raises(TypeError, match="record must be a path, not int"):
        Client("localhost", record=wrong)
    with pytest.raises(TypeError, match="record must be a path, not int"):
        TestBroker(record=wrong)
    with pytest.raises(TypeError, match="record_payloads must be bool"):
        TestBroker(record=tmp_path / "a", record_payloads=wrong)
    for construct in (
        lambda: Client("localhost", record_payloads=True),
        lambda: TestBroker(record_payloads=True),
    ):
        with pytest.raises(ValueError, match="give record, the file, too"):
            construct()
    with pytest.raises(FileNotFoundError, match=str(nowhere)):
        TestBroker(record=nowhere)
    with pytest.raises(FileNotFoundError, match=str(nowhere)):
        TestBroker.from_recording(nowhere)
    with pytest.raises(TypeError, match="recording must be a path"):
        TestBroker.from_recording(wrong)
    with pytest.raises(TypeError, match="first must be a path"):
        diff(wrong, nowhere)


def test_what_is_no_recording_is_refused_with_its_line(tmp_path: Path) -> None:
    path, hashes = tmp_path / "a", tmp_path / "hashes"
    for text, problem in [
        (b"", "line 1"),
        (b'{"mqttlog":1,"payloads":true}\nhello\n', "line 2"),
        (b"\xff\xfe\0", "UTF-8"),
    ]:
        path.write_bytes(text)
        for read in (show, TestBroker.from_recording, lambda it: diff(it, it)):
            with pytest.raises(ValueError, match=problem) as caught:
                read(path)
            assert str(path) in str(caught.value)
    TestBroker(record=hashes)
    with pytest.raises(ValueError, match="has no payloads"):
        TestBroker.from_recording(hashes)


def test_what_happened_in_a_replay_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "first.mqttlog"

    async def program(broker: TestBroker) -> None:
        async with broker.client("p") as client:
            await client.publish("x/1", "on", qos=1)

    async def main() -> None:
        async with recording_broker(path) as broker:
            await program(broker)
        async with TestBroker.from_recording(path, listen=False) as broker:
            await program(broker)
            await broker.idle()
            broker.check_published("x/1", "on", qos=1)
            broker.check_published("x/2", times=0)
            with pytest.raises(AssertionError, match="1 messages matched"):
                broker.check_published("x/1", times=0)
            assert [packet.client for packet in broker.packets(PUBACK)] == ["p"]
            assert "PUBLISH" in broker.chart()
            await broker.wait_for("x/#", "on")

    play(main)


def test_a_replay_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    path = tmp_path / "first.mqttlog"
    recording_broker(path)
    broker = TestBroker.from_recording(path, listen=False)
    verbs: list[Callable[[], object]] = [
        lambda: broker.sends(PUBACK).lose(),
        lambda: broker.receives(PUBLISH).hold(),
        lambda: broker.refuse_connections(0x89),
        lambda: broker.seed_faults(1),
        lambda: broker.play_faults("sends PUBACK lose"),
        lambda: broker.link("p").cut(),
        broker.partition,
        broker.heal,
        lambda: broker.forget_session("p"),
        lambda: broker.take_over("p"),
        lambda: broker.kill("p"),
        lambda: broker.send("p", PINGRESP),
        lambda: broker.send_raw("p", b""),
        lambda: broker.session("p"),
        lambda: broker.disconnect_client("p", 0x89),
        lambda: asyncio.run(broker.restart()),
        lambda: asyncio.run(broker.publish("t", "x")),
    ]
    for verb in verbs:
        with pytest.raises(RuntimeError, match="replays a recording makes no faults"):
            verb()


def test_a_broker_that_cannot_be_made_leaves_the_file_to_record_to_alone(tmp_path: Path) -> None:
    kept, junk = tmp_path / "kept", tmp_path / "junk"
    kept.write_text("kept")
    junk.write_text("junk")
    wrong: Any = {"nope": 1}
    with pytest.raises(TypeError, match="nope"):
        TestBroker(listen=False, record=kept, **wrong)
    with pytest.raises(ValueError, match="line 1"):
        TestBroker.from_recording(junk, listen=False, record=kept)
    assert kept.read_text() == "kept"


def test_a_replay_is_not_recorded_to_the_file_that_it_replays(tmp_path: Path) -> None:
    path, link = tmp_path / "first.mqttlog", tmp_path / "link"

    async def main() -> None:
        async with recording_broker(path) as broker, broker.client("a") as client:
            await client.publish("t", "1", qos=1)

    play(main)
    link.symlink_to(path)
    before = path.read_bytes()
    for record in (path, link):
        with pytest.raises(ValueError, match="record names the recording that is replayed"):
            TestBroker.from_recording(path, listen=False, record=record)
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="not noticed there")
def test_two_recorders_at_once_do_not_write_over_each_other(tmp_path: Path) -> None:
    path = tmp_path / "one.mqttlog"

    async def main() -> None:
        broker = TestBroker(listen=False)
        async with broker.client("p", record=path) as client:
            await client.publish("t", "1", qos=1)
            second = broker.client("q", record=path)
            with pytest.raises(OSError, match="another recorder writes to it"):
                await second.__aenter__()
            with pytest.raises(OSError, match="another recorder writes to it"):
                TestBroker(listen=False, record=path)
            await client.publish("t", "2", qos=1)
        async with second:  # the first has left
            await second.publish("t", "3", qos=1)
        assert [line.count("(q)") for line in show(path).splitlines() if "PUBLISH" in line] == [1]

    play(main)


def test_a_file_is_not_made_before_the_client_is_entered(tmp_path: Path) -> None:
    path = tmp_path / "never"
    Client("localhost", record=path)
    assert list(tmp_path.iterdir()) == []
