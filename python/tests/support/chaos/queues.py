"""A program with queues of its own: subscriptions, acknowledgements, and an outgoing queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import ferromqtt
from ferromqtt import MqttError, MqttOverflowError, PayloadError, TopicTemplate

from .checks import matches
from .ledger import Name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .actor import Actor


_MANY = 1_000_000


_UNREADABLE = 3
"""The codec fails on each so manyth message of a publisher."""


class _Names:
    """A codec: from payloads to names."""

    def decode(self, payload: bytes) -> Name:
        name = Name.of(payload)
        if not _is_readable(name):
            raise ValueError(name)
        return name


def _is_readable(name: Name) -> bool:
    return name.number % _UNREADABLE != 1


class _Done(Exception):  # noqa: N818 - no error
    """All has come that is to come."""


async def use_queues(actor: Actor) -> None:
    """Enter one client again and again, with subscriptions around its blocks or in them."""
    plan, queues = actor.plan, actor.plan.queues
    assert queues
    client = actor.client()
    async with contextlib.AsyncExitStack() as around:
        early = {}
        for topic_filter in queues.subscriptions if queues.early else ():
            early[topic_filter] = await around.enter_async_context(
                _subscription(actor, client, topic_filter)
            )
        while not actor.done.is_set():
            entered = False
            try:
                async with client, actor.stay(), asyncio.TaskGroup() as tasks:
                    entered = True
                    tasks.create_task(_until_done(actor, client))
                    for topic_filter in plan.filters:
                        if topic_filter in early:
                            tasks.create_task(_read(actor, client, early[topic_filter]))
                        elif topic_filter in queues.subscriptions:
                            tasks.create_task(_subscribe_and_read(actor, client, topic_filter))
                        else:
                            tasks.create_task(_subscribe(actor, client, topic_filter))
                    tasks.create_task(_read_the_rest(actor, client))
                    for agenda in actor.agendas:
                        tasks.create_task(_publish(actor, client, agenda))
            except* _Done:
                pass
            except* MqttError as errors:
                if entered:
                    actor.losses.append(errors)
                await actor.sleep(plan.interval)
            actor.end_if_idle()


async def _until_done(actor: Actor, client: Any) -> None:  # noqa: ANN401
    await actor.done.wait()
    left = client.unacknowledged()
    if left.messages or left.held_back:  # since all went well, the program has acknowledged all
        actor.ledger.problems.append(f"{actor.plan.name} has left over {left}")
    raise _Done


async def _publish(actor: Actor, client: Any, agenda: Any) -> None:  # noqa: ANN401
    while agenda.left:
        try:
            await agenda.publish(client)
        except* MqttError:
            if client.state() is ferromqtt.ClientState.DISCONNECTED:
                raise
        await actor.sleep(agenda.pause)


async def _subscribe(actor: Actor, client: Any, topic_filter: str) -> None:  # noqa: ANN401
    """Subscribe to what goes to `Client.messages`."""
    while True:
        try:
            await client.subscribe(topic_filter, actor.plan.filters[topic_filter])
        except MqttError:
            if client.state() is ferromqtt.ClientState.DISCONNECTED:
                raise
            await actor.sleep(actor.plan.interval)
        else:
            return


async def _read_the_rest(actor: Actor, client: Any) -> None:  # noqa: ANN401
    async for message in client.messages:
        await actor.process(client, message)


async def _subscribe_and_read(actor: Actor, client: Any, topic_filter: str) -> None:  # noqa: ANN401
    while True:
        try:
            async with _subscription(actor, client, topic_filter) as subscription:
                await _read(actor, client, subscription)
        except MqttError:
            if client.state() is ferromqtt.ClientState.DISCONNECTED:
                raise
            await actor.sleep(actor.plan.interval)


class _Reading:
    """An open subscription: its messages, and what it has lost."""

    def __init__(self, actor: Actor, topic_filter: str, messages: Any) -> None:  # noqa: ANN401
        assert actor.plan.queues
        self.topic_filter = topic_filter
        self.messages = messages
        self._actor = actor
        self._terms = actor.plan.queues.subscriptions[topic_filter]

    def look(self, name: Name, message: Any) -> None:  # noqa: ANN401 - typed, or a plain one
        """Note what is wrong with a message that was taken here, or with the queue."""
        queues = self._actor.plan.queues
        assert queues
        if self.topic_filter in queues.templates and "+" in self.topic_filter:
            _, number = name.topic.split("/")
            if message.params != {"number": number}:
                self._say(f"{name} has come with {message.params}")
        if self.topic_filter in queues.codecs:
            self._look_at_value(name, message)
        if not matches(self.topic_filter, name):
            self._say(f"{name} has come by {self.topic_filter}")
        if self._terms["overflow"] != "wait" and len(self.messages) > self._terms["maxsize"]:
            self._say(f"the queue of {self.topic_filter} holds {len(self.messages)} messages")

    def _look_at_value(self, name: Name, message: Any) -> None:  # noqa: ANN401
        """One that the codec cannot decode is a message as any other."""
        if not _is_readable(name):
            if not isinstance(message.error, PayloadError):
                self._say(f"{name} has come with the error {message.error!r}")
        elif message.error is not None or message.value != name:
            self._say(f"{name} was decoded to {message!r}: {message.error!r}")

    def count_lost(self) -> None:
        """Note how many messages the queue has lost. One that waits loses none but of QoS 0."""
        lost = self.messages.take_lost()
        if self._terms["overflow"] != "wait":
            self.say_that_it_lost(lost)

    def say_that_it_lost(self, number: int) -> None:
        of_client = self._actor.ledger.lost.setdefault(self._actor.plan.name, Counter())
        of_client[self.topic_filter] += number

    def _say(self, text: str) -> None:
        self._actor.ledger.problems.append(f"{self._actor.plan.name}: {text}")


@contextlib.asynccontextmanager
async def _subscription(actor: Actor, client: Any, topic_filter: str) -> AsyncIterator[_Reading]:  # noqa: ANN401
    plan, queues = actor.plan, actor.plan.queues
    assert queues
    terms = queues.subscriptions[topic_filter]
    if actor.chance.random() < 0.5:  # else it is as the client says
        terms = terms | {"ack": "manual" if queues.manual else "auto"}
    if topic_filter in queues.codecs:
        terms = terms | {"codec": _Names()}
    as_given: Any = topic_filter
    if topic_filter in queues.templates:
        as_given = TopicTemplate(topic_filter.replace("+", "{number}"))
    reading = None
    try:
        async with client.subscription(as_given, qos=plan.filters[topic_filter], **terms) as it:
            reading = _Reading(actor, topic_filter, it)
            try:
                yield reading
            finally:
                while queues.empties and (message := it.try_next()) is not None:
                    reading.look(actor.take_and_answer(client, message), message)
                reading.count_lost()
                if terms["overflow"] == "fail" and len(it):
                    reading.say_that_it_lost(_MANY)  # it says so behind what it holds
    finally:
        if reading is None and terms["overflow"] != "wait":
            # What a queue has lost that was given up before SUBACK came is in the log alone.
            actor.ledger.lost.setdefault(plan.name, Counter())[topic_filter] += _MANY


async def _read(actor: Actor, client: Any, reading: _Reading) -> None:  # noqa: ANN401
    """Take messages in one of the ways there are, until the subscription ends."""
    while True:
        try:
            way = actor.chance.choice((_one_by_one, _in_batches, _impatiently))
            await way(actor, client, reading)
        except MqttOverflowError as error:
            if error.lost < 1:
                actor.ledger.problems.append(f"{actor.plan.name}: {error!r}")
            reading.count_lost()
        else:
            return


async def _one_by_one(actor: Actor, client: Any, reading: _Reading) -> None:  # noqa: ANN401
    async for message in reading.messages:
        reading.look(await actor.process(client, message), message)


async def _in_batches(actor: Actor, client: Any, reading: _Reading) -> None:  # noqa: ANN401
    async for batch in reading.messages.batches(max=3):
        names = [actor.take_and_answer(client, message) for message in batch]
        for name, message in zip(names, batch, strict=True):
            reading.look(name, message)
        await actor.rest()


async def _impatiently(actor: Actor, client: Any, reading: _Reading) -> None:  # noqa: ANN401
    while True:
        try:
            async with asyncio.timeout(actor.chance.uniform(0.001, 2) * actor.pace):
                message = await anext(reading.messages)
        except TimeoutError:
            continue
        except StopAsyncIteration:
            return
        reading.look(await actor.process(client, message), message)
