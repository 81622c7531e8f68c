"""Codecs of subscriptions, and of calls that publish."""

import asyncio
import copy
import gc
import json
import pickle
import traceback
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from conftest import Broker
from ferromqtt import (
    Client,
    Message,
    PayloadError,
    ProtocolVersion,
    TypedMessage,
    json_codec,
)
from ferromqtt import blocking as threads
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.virtual import memory_broker, play

V5 = ProtocolVersion.V5


@dataclass
class Reading:
    """What most of these tests send."""

    celsius: float


class Counting:
    """A codec that counts how often it decodes, and fails as asked."""

    def __init__(self) -> None:
        self.decoded = 0
        self.fails: BaseException | None = None

    def encode(self, value: object) -> bytes:
        return repr(value).encode()

    def decode(self, payload: bytes) -> list[bytes]:
        self.decoded += 1
        if self.fails is not None:
            raise self.fails
        return [payload]


class Pydantic:
    """The adapter of docs/codecs.md."""

    def __init__(self, kind: Any) -> None:  # noqa: ANN401 - whatever pydantic takes
        adapter = pydantic.TypeAdapter(kind)
        self.encode, self.decode = adapter.dump_json, adapter.validate_json


@pytest.mark.parametrize("left", ["dropped", "collected"])
def test_a_long_chain_of_messages_by_their_values_is_dropped(left: str) -> None:
    last: TypedMessage[Any] | None = None
    for _ in range(100_000):
        message: TypedMessage[Any] = TypedMessage("t", b"", 0, False, 0, None)
        fields = ("t", b"", 0, False, 0, None)
        message.__setstate__((fields, None, False, {}, True, last))  # type: ignore[attr-defined]
        last = message
    if left == "collected":
        ring = [last]
        ring.append(ring)  # type: ignore[arg-type]
        del ring
    del last, message
    gc.collect()


def test_values_arrive_in_order_and_a_bad_payload_is_an_item_of_its_own(
    broker: Broker, run: LoopRunner
) -> None:
    topic = unique("codecs")

    async def main() -> None:
        codec = json_codec(Reading)
        async with (
            Client(*broker.where) as client,
            client.subscription(topic, qos=1, codec=codec) as readings,
        ):
            await client.publish(topic, Reading(21.5), qos=1, codec=codec)
            await client.publish(topic, "secret payload", qos=1)
            await client.publish(topic, {"celsius": 12}, qos=1, codec=json)
            async with asyncio.timeout(LIMIT):
                good, bad, last = [await anext(readings) for _ in range(3)]
            assert (good.value, good.error) == (Reading(21.5), None)
            assert good.payload == b'{"celsius":21.5}'
            assert good.value is good.value
            assert isinstance(bad.error, PayloadError)
            assert isinstance(bad.error.__cause__, json.JSONDecodeError)
            assert (bad.error.topic, bad.error.codec) == (topic, "json_codec(Reading)")
            assert "secret" not in f"{bad.error!r}{bad.error}"
            assert bad.payload == b"secret payload"
            with pytest.raises(PayloadError, match="cannot be decoded") as raised:
                _ = bad.value
            assert raised.value is bad.error
            assert last.value == Reading(12.0)

    run(main)


def test_a_payload_is_decoded_once_and_only_when_somebody_asks() -> None:
    async def main() -> None:
        codec = Counting()
        async with (
            memory_broker().client() as client,
            client.subscription("a/{b}", codec=codec) as messages,
        ):
            await client.publish("a/1", "x")
            await client.publish("a/2", "y")
            first, second = await anext(messages), await anext(messages)
            assert repr(first) == "TypedMessage('a/1', b'x', qos=0, params={'b': '1'})"
            assert codec.decoded == 0
            assert first.error is None
            assert first.value == [b"x"]
            assert first.value is first.value
            assert codec.decoded == 1
            codec.fails = ValueError()
            assert second.error is second.error
            assert second.error is not None
            assert codec.decoded == 2

    play(main)


@pytest.mark.parametrize("fails", [ValueError("v"), RuntimeError(), RecursionError(), Exception()])
def test_any_exception_of_a_codec_is_the_cause_of_the_error(fails: Exception) -> None:
    async def main() -> None:
        codec = Counting()
        codec.fails = fails
        async with (
            memory_broker().client() as client,
            client.subscription("a", codec=codec) as messages,
        ):
            await client.publish("a")
            error = (await anext(messages)).error
            assert error is not None
            assert error.__cause__ is fails
            kind = type(fails).__name__
            expected = f'The payload for "a" cannot be decoded by the codec Counting: {kind}'
            assert str(error) == expected

    play(main)


@pytest.mark.parametrize("fails", [KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_other_exceptions_pass_and_the_payload_may_be_decoded_later(fails: BaseException) -> None:
    async def main() -> None:
        codec = Counting()
        codec.fails = fails
        async with (
            memory_broker().client() as client,
            client.subscription("a", codec=codec) as messages,
        ):
            await client.publish("a", "x")
            message = await anext(messages)
            for name in ("value", "error"):
                with pytest.raises(type(fails)) as raised:
                    getattr(message, name)
                assert raised.value is fails
            codec.fails = None
            assert message.value == [b"x"]

    play(main)


def test_an_error_that_is_raised_often_keeps_no_frames() -> None:
    def depth(error: BaseException) -> int:
        return len(traceback.extract_tb(error.__traceback__))

    async def main() -> None:
        async with (
            memory_broker().client() as client,
            client.subscription("a", codec=json) as messages,
        ):
            await client.publish("a", "bad")
            message = await anext(messages)
            depths = set()
            for _ in range(5):
                with pytest.raises(PayloadError) as raised:
                    _ = message.value
                depths.add(depth(raised.value))
            assert depths == {1}

    play(main)


def test_a_bad_payload_is_acknowledged_or_rejected_as_any_other() -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client("reader", protocol=V5) as client,
            client.subscription("a", qos=1, codec=json, ack="manual") as messages,
        ):
            for payload in ("1", "bad", "worse", "2"):
                await client.publish("a", payload, qos=1)
            values = []
            for _ in range(4):
                message = await anext(messages)
                if message.error is None:
                    values.append(message.value)
                    await message.ack()
                elif message.payload == b"bad":
                    await message.reject(153, reason_string="no JSON")
                else:
                    await message.ack()
            assert values == [1, 2]
            assert client.unacknowledged().messages == 0

    play(main)


def test_batches_and_try_next_have_values() -> None:
    async def main() -> None:
        async with (
            memory_broker().client() as client,
            client.subscription("a", qos=1, codec=json) as messages,
        ):
            await client.publish_many([("a", 1), ("a", [2]), ("a", None)], qos=1, codec=json)
            batch = await anext(messages.batches(max=2))
            assert [it.value for it in batch] == [1, [2]]
            last = messages.try_next()
            assert last is not None
            assert (last.payload, last.value) == (b"null", None)

    play(main)


def test_a_step_that_waits_gives_a_value_and_a_cancelled_one_loses_none() -> None:
    async def main() -> None:
        async with (
            memory_broker().client() as client,
            client.subscription("a", codec=json) as messages,
        ):
            for _ in range(2):
                waiting = asyncio.ensure_future(anext(messages))
                await asyncio.sleep(1)
                waiting.cancel()
                await asyncio.wait([waiting])
                waiting = asyncio.ensure_future(anext(messages))
                await asyncio.sleep(1)
                await client.publish("a", [1], codec=json)
                assert (await waiting).value == [1]

    play(main)


def test_without_a_codec_there_is_no_value() -> None:
    async def main() -> None:
        async with (
            memory_broker().client() as client,
            client.subscription("a") as plain,
            client.subscription("b/{c}") as named,
        ):
            await client.publish("a")
            await client.publish("b/1")
            for message in (await anext(plain), await anext(named)):
                assert not hasattr(message, "value")
                with pytest.raises(AttributeError, match=r"decode message\.payload"):
                    _ = message.value  # type: ignore[misc]
            assert named.try_next() is None

    play(main)


async def _publish(client: Client, value: object, codec: Any) -> None:  # noqa: ANN401
    await client.publish("a", value, qos=1, codec=codec)


async def _enqueue(client: Client, value: object, codec: Any) -> None:  # noqa: ANN401
    await (await client.enqueue("a", value, qos=1, codec=codec))


async def _publish_nowait(client: Client, value: object, codec: Any) -> None:  # noqa: ANN401
    await client.publish_nowait("a", value, qos=1, codec=codec)


async def _publish_many(client: Client, value: object, codec: Any) -> None:  # noqa: ANN401
    await client.publish_many([("a", ["w"]), ("a", value)], qos=1, codec=codec)


CALLS = [_publish, _enqueue, _publish_nowait, _publish_many]


@pytest.mark.parametrize("slots", [None, 1])
@pytest.mark.parametrize("call", CALLS)
def test_each_call_encodes_and_sends_nothing_when_it_cannot(
    call: Callable[[Client, object, Any], Any], slots: int | None
) -> None:
    async def main() -> None:
        broker = memory_broker()
        async with (
            broker.client(protocol=V5, max_concurrent_outgoing_calls=slots) as client,
            client.subscription("a", qos=1) as messages,
        ):
            before = client.stats()
            with pytest.raises(PayloadError) as raised:
                await call(client, {"key": {"secret"}}, json)
            expected = 'A value for "a" cannot be encoded by the codec json: TypeError'
            assert str(raised.value) == expected
            assert isinstance(raised.value.__cause__, TypeError)
            for wrong in ("json", b"json", 5, Counting, object()):
                with pytest.raises(TypeError, match="codec must be an object"):
                    await call(client, 1, wrong)
            returns_int = types.SimpleNamespace(encode=lambda _: 5)
            with pytest.raises(PayloadError, match="it returned int, not bytes or str"):
                await call(client, 1, returns_int)
            assert client.stats() == before
            assert len(messages) == 0
            for good, payload in (
                (json, b'["v"]'),
                (types.SimpleNamespace(encode=lambda value: value[0]), b"v"),
                (types.SimpleNamespace(encode=lambda value: bytearray(value[0], "ascii")), b"v"),
            ):
                await call(client, ["v"], good)
                await asyncio.sleep(1)
                *_, last = await anext(messages.batches())
                assert last.payload == payload

    play(main)


def test_without_a_codec_the_payload_is_sent_as_it_is() -> None:
    async def main() -> None:
        async with (
            memory_broker().client() as client,
            client.subscription("a", qos=1) as messages,
        ):
            for call in CALLS[:3]:
                await call(client, "v", None)
                await asyncio.sleep(1)
                assert (await anext(messages)).payload == b"v"

    play(main)


def test_requests_and_responses_are_encoded_and_the_response_has_a_value() -> None:
    async def main() -> None:
        async with (
            memory_broker().client(protocol=V5) as client,
            client.subscription("square", codec=json) as questions,
        ):

            async def answer() -> None:
                question = await anext(questions)
                await client.respond(question, {"celsius": question.value**2}, codec=json)
                question = await anext(questions)
                with pytest.raises(PayloadError, match="cannot be encoded"):
                    await client.respond(question, {1, 2}, codec=json)
                await client.respond(question, "no JSON")
                question = await anext(questions)
                await client.respond(question, "x")

            answering = asyncio.create_task(answer())
            response = await client.request("square", 7, codec=json)
            assert type(response) is TypedMessage
            assert response.value == {"celsius": 49}
            response = await client.request("square", 7, codec=json)
            assert isinstance(response.error, PayloadError)
            only_encodes = types.SimpleNamespace(encode=json.dumps)
            plain = await client.request("square", 7, codec=only_encodes)  # type: ignore[call-overload]
            assert type(plain) is Message
            await answering
            with pytest.raises(PayloadError, match="square"):
                await client.request("square", {1}, codec=json)

    play(main)


def test_a_codec_that_is_none_is_refused_by_a_subscription() -> None:
    client = Client("localhost")
    for wrong in ("json", b"", 5, Counting, json.dumps, types.SimpleNamespace(encode=str)):
        with pytest.raises(TypeError, match="codec must be an object"):
            client.subscription("a", codec=wrong)  # type: ignore[call-overload]
    client.subscription("a", codec=types.SimpleNamespace(loads=json.loads))


def test_pydantic_is_a_codec_by_three_lines() -> None:
    class Level(pydantic.BaseModel):
        percent: int

    async def main() -> None:
        codec = Pydantic(Level)
        async with (
            memory_broker().client() as client,
            client.subscription("a", codec=codec) as levels,
        ):
            await client.publish("a", Level(percent=7), codec=codec)
            await client.publish("a", '{"percent": "secret"}')
            assert (await anext(levels)).value == Level(percent=7)
            error = (await anext(levels)).error
            assert error is not None
            assert isinstance(error.__cause__, pydantic.ValidationError)
            assert "secret" not in str(error)

    play(main)


def test_copies_have_the_value_and_the_error() -> None:
    async def main() -> list[TypedMessage[Reading]]:
        async with (
            memory_broker().client() as client,
            client.subscription("a/{b}", codec=json_codec(Reading)) as messages,
        ):
            await client.publish("a/1", {"celsius": 1}, codec=json)
            await client.publish("a/2", "bad")
            return [await anext(messages), await anext(messages)]

    good, bad = play(main)
    for copies in (copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))):
        copied: TypedMessage[Reading] = copies(good)
        assert type(copied) is TypedMessage
        assert (copied.value, copied.error, copied.params) == (Reading(1.0), None, {"b": "1"})
        failed: PayloadError | None = copies(bad).error
        assert failed is not None
        assert str(failed) == str(bad.error)
        assert (failed.topic, failed.codec) == ("a/2", "json_codec(Reading)")


def test_a_message_and_its_codec_are_released_also_in_a_cycle() -> None:
    class Keeps:
        """A codec whose values keep messages."""

        def decode(self, payload: bytes) -> list[object]:
            return [payload]

    async def main() -> list[weakref.ref[object]]:
        codec = Keeps()
        async with (
            memory_broker().client() as client,
            client.subscription("a", codec=codec) as messages,
        ):
            await client.publish("a")
            message = await anext(messages)
            message.value.append(message)
            return [weakref.ref(message), weakref.ref(codec)]

    references = play(main)
    gc.collect()
    assert [it() for it in references] == [None, None]


def test_a_long_chain_of_messages_is_dropped_without_overflowing_the_stack() -> None:
    class Chains:
        """A codec that makes a chain of all messages, as no sane one does."""

        def __init__(self) -> None:
            self.latest: object = None

        def decode(self, _: bytes) -> object:
            return [self.latest]

    async def main() -> None:
        codec = Chains()
        async with (
            memory_broker().client() as client,
            client.subscription("a", codec=codec) as messages,
        ):
            await client.publish_many([("a", 1)] * 30_000)
            by_payload: object = None
            async for batch in messages.batches(max=1000):
                for message in batch:
                    _ = message.value
                    codec.latest = message
                    other = copy.copy(message)
                    other.payload = by_payload  # type: ignore[assignment]
                    by_payload = other
                if len(messages) == 0:
                    break
            codec.latest = None
            del batch, message, other, by_payload

    play(main)


def test_threads_have_values_too() -> None:
    codec = json_codec(Reading)
    with (
        threads.Client(memory_broker(), protocol=5) as client,
        client.subscription("room/{room}", qos=1, codec=codec) as readings,
    ):
        client.publish("room/hall", Reading(21.5), qos=1, codec=codec)
        client.publish("room/hall", "bad", qos=1)
        client.enqueue("room/hall", Reading(1), qos=1, codec=codec).wait(LIMIT)
        client.publish_nowait("room/hall", Reading(2), qos=1, codec=codec).wait(LIMIT)
        client.publish_many([("room/hall", Reading(3))], qos=1, codec=codec)
        found = [next(readings) for _ in range(4)]
        assert [it.value for it in found if it.error is None] == [
            Reading(21.5),
            Reading(1.0),
            Reading(2.0),
        ]
        assert found[1].error is not None
        last = readings.try_next()
        assert last is not None
        assert last.value == Reading(3.0)
        with pytest.raises(PayloadError):
            client.publish("room/hall", 5, codec=codec)  # type: ignore[misc]
