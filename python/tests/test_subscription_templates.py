"""Templates as the filters of a subscription, and the names in its messages."""

import asyncio
import copy
import pickle

import pytest

from conftest import Broker
from ferromqtt import Client, Message, ProtocolVersion, Topic, TopicTemplate, TypedMessage, Wildcard
from ferromqtt import blocking as threads
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.virtual import memory_broker, play

V5 = ProtocolVersion.V5


def test_a_template_subscribes_to_its_filter_and_each_message_has_its_names(
    broker: Broker, run: LoopRunner
) -> None:
    base = unique("codecs")

    async def main() -> None:
        async with (
            Client(*broker.where) as client,
            client.subscription(base + "/{room}/{rest#}", qos=1) as messages,
        ):
            assert [filter_ for filter_, _ in messages.results()] == [f"{base}/+/#"]
            await client.publish(f"{base}/hall/temp/in", "21.5", qos=1)
            await client.publish(f"{base}/cellar", "12", qos=1)
            async with asyncio.timeout(LIMIT):
                first, second = await anext(messages), await anext(messages)
            assert first.params == {"room": "hall", "rest": "temp/in"}
            assert second.params == {"room": "cellar", "rest": ""}
            assert isinstance(first, Message)
            assert first.payload == b"21.5"
            assert first.params is first.params

    run(main)


def test_the_first_template_with_names_that_matches_counts() -> None:
    async def main() -> None:
        async with memory_broker().client(protocol=V5) as client:
            filters = ("a/#", TopicTemplate("+/b"), "a/{second}", ["{first}/b", ("x/{only}", 1)])
            async with client.subscription(*filters) as messages:
                seen = []
                for topic in ("a/b", "c/b", "x/y", "a/b/c"):
                    await client.publish(topic, qos=1)
                    message = await anext(messages)
                    seen.append((str(message.topic), message.params))
                    while messages.try_next():
                        pass
            assert seen == [
                ("a/b", {"second": "b"}),
                ("c/b", {"first": "c"}),
                ("x/y", {"only": "y"}),
                ("a/b/c", {}),
            ]

    play(main)


def test_braces_are_doubled_in_a_subscription_and_literal_in_subscribe() -> None:
    async def main() -> None:
        async with memory_broker().client() as client:
            async with client.subscription(
                "{{a}}/{b}", Wildcard("{c}/d"), Topic("{e}")
            ) as messages:
                assert [it for it, _ in messages.results()] == ["{a}/+", "{c}/d", "{e}"]
                await client.publish("{a}/1")
                assert (await anext(messages)).params == {"b": "1"}
                await client.publish("{c}/d")
                assert (await anext(messages)).params == {}
            await client.subscribe("{f}/{g}")
            await client.publish("{f}/{g}", "literal")
            await client.publish("f/g", "not subscribed to")
            await client.subscribe([TopicTemplate("h/{i}"), (TopicTemplate("j/{k}"), 1)])
            await client.publish("h/1", "by a template")
            await client.unsubscribe([TopicTemplate("h/{i}"), TopicTemplate("j/{k}")])
            await client.publish("h/2", "unsubscribed")
            await client.publish("{f}/{g}", "the last")
            payloads = [(await anext(client.messages)).payload for _ in range(3)]
            assert payloads == [b"literal", b"by a template", b"the last"]

    play(main)


def test_a_shared_subscription_has_names_and_group_braces_are_literal() -> None:
    async def main() -> None:
        async with (
            memory_broker().client(protocol=V5) as client,
            client.subscription("$share/{group}/job/{number}", qos=1) as jobs,
        ):
            assert [it for it, _ in jobs.results()] == ["$share/{group}/job/+"]
            await client.publish("job/7", qos=1)
            assert (await anext(jobs)).params == {"number": "7"}

    play(main)


@pytest.mark.parametrize("wrong", ["a/{b", "a}", "x{a}", "{a}/{a}", "{a#}/b"])
def test_a_malformed_template_is_refused_before_anything_is_sent(wrong: str) -> None:
    client = Client("localhost")
    for topics in ((wrong,), (("a", 1), (wrong, 1)), (["a", wrong],)):
        with pytest.raises(ValueError, match="Invalid template"):
            client.subscription(*topics)  # type: ignore[call-overload]


def test_a_message_that_came_by_no_template_has_no_names() -> None:
    async def main() -> None:
        async with memory_broker().client() as client:
            await client.subscribe("a")
            await client.publish("a")
            message = await anext(client.messages)
            assert message.params == {}
            assert type(message) is Message
            async with client.subscription("b") as messages:
                await client.publish("b")
                assert type(await anext(messages)) is Message

    play(main)
    made = Message("a", b"", 0, False, 0, None)
    assert made.params == {}
    with pytest.raises(AttributeError, match="params of a message is what was received"):
        made.params = {}  # type: ignore[misc]


def test_a_subclass_of_message_may_have_attributes_of_these_names() -> None:
    class Own(Message):
        def __init__(self) -> None:
            super().__init__("a", b"", 0, False, 0, None)
            self.params = {"own": "yes"}  # type: ignore[misc]
            self.value = 7  # type: ignore[misc]

    own = Own()
    assert (own.params, own.value) == ({"own": "yes"}, 7)  # type: ignore[misc]
    del own.value  # type: ignore[misc]
    assert not hasattr(own, "value")


def test_batches_and_try_next_have_names_and_repr_shows_them() -> None:
    async def main() -> None:
        async with (
            memory_broker().client() as client,
            client.subscription("room/{room}", "log/#", qos=1) as messages,
        ):
            assert repr(messages) == "<messages of 'room/{room}', 'log/#', 0 queued>"
            assert repr(client.subscription("a/{b}")) == "<Subscription to 'a/{b}'>"
            for room in ("hall", "attic", "cellar"):
                await client.publish(f"room/{room}", "x", qos=1)
            batch = await anext(messages.batches(max=2))
            assert [it.params["room"] for it in batch] == ["hall", "attic"]
            last = messages.try_next()
            assert last is not None
            shown = "TypedMessage('room/cellar', b'x', qos=1, params={'room': 'cellar'})"
            assert repr(last) == shown
            await client.publish("log/1", "y", qos=1)
            assert repr(await anext(messages)) == "TypedMessage('log/1', b'y', qos=1)"

    play(main)


def test_a_copy_keeps_the_names() -> None:
    async def main() -> Message:
        async with (
            memory_broker().client() as client,
            client.subscription("room/{room}") as messages,
        ):
            await client.publish("room/hall", "x")
            return await anext(messages)

    message = play(main)
    for copied in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert type(copied) is TypedMessage
        assert (copied.params, str(copied.topic)) == ({"room": "hall"}, "room/hall")
        with pytest.raises(AttributeError, match="came by no codec"):
            _ = copied.value


def test_threads_read_names_too() -> None:
    with (
        threads.Client(memory_broker(), protocol=5) as client,
        client.subscription("room/{room}", qos=1) as messages,
    ):
        client.publish("room/hall", "x", qos=1)
        assert next(messages).params == {"room": "hall"}
        assert repr(messages) == "<messages of 'room/{room}', 0 queued>"
