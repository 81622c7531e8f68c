"""Lines of the log that the engine makes: what a logger gets of them."""

import asyncio

import pytest

from ferromqtt import Client, MqttCodeError, MqttError, ProtocolVersion, Reconnect
from ferromqtt._internals import internals_of
from support.virtual import memory_broker, play

LOST = "the server refused a message, and nobody waited for its outcome: it is not delivered"


@pytest.mark.parametrize("qos", [1, 2])
def test_a_refused_message_whose_publish_was_cancelled_has_a_line(
    caplog: pytest.LogCaptureFixture, qos: int
) -> None:
    """MQTT-4.4.0-2: the caller of the second one gets an exception, and no line."""

    async def main() -> None:
        broker = memory_broker(deny_publish=["denied"])
        async with Client(broker, protocol=ProtocolVersion.V5) as client:
            publishing = asyncio.create_task(client.publish("denied", "s3cret", qos=qos))
            await asyncio.sleep(0)
            publishing.cancel()
            with pytest.raises(MqttCodeError):
                await client.publish("denied", "x", qos=qos)

    play(main)
    details = '(topic: "denied", reason: Not authorized (0x87), the test broker)'
    lines = [(it.levelname, it.getMessage()) for it in caplog.records]
    assert lines == [("WARNING", f"{LOST} {details}")]


def test_refusals_that_repeat_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broker = memory_broker(deny_publish=["denied"])
        async with Client(broker, protocol=ProtocolVersion.V5) as client:
            publishing = [asyncio.create_task(client.publish("denied", qos=1)) for _ in range(7)]
            await asyncio.sleep(0)
            for task in publishing:
                task.cancel()
            await client.publish("a", qos=1)

    play(main)
    assert all(it.startswith(LOST) for it in caplog.messages)
    endings = [it.rpartition("the test broker)")[2] for it in caplog.messages]
    assert endings == ["", " (2 times so far)", " (4 times so far)", " (7 times in all)"]


def test_a_line_that_cannot_be_written_keeps_no_iterator_waiting() -> None:
    """What ends a program may come out of a handler of the log at any line."""
    raised: list[object] = []

    def fail(_level: int, text: str) -> None:
        raise RuntimeError(text)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        broker = memory_broker()
        async with Client(broker, reconnect=Reconnect(attempts=1)) as client:
            loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))
            internals_of(client).core._write_line = fail  # type: ignore[method-assign]
            await broker.stop()
            with pytest.raises(MqttError):
                await anext(client.messages)

    play(main)
    assert [type(error) for error in raised] == [RuntimeError] * len(raised)
    assert str(raised[0]).startswith("connection lost: ")
