"""The programs: what users write around a client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import ferromqtt
from ferromqtt import MqttError

from .noting import OFF
from .queues import use_queues
from .script import Style

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .actor import Actor, Agenda

# Programs in the style of aiomqtt 2. `client` is made before the loop or in it; see `Actor.client`.


async def listen(actor: Actor) -> None:
    while not actor.done.is_set():
        try:
            async with actor.client() as client, actor.stay():
                await subscribe_and_listen(actor, client)
        except MqttError:
            await actor.sleep(actor.plan.interval)


async def publish(actor: Actor) -> None:
    while actor.agendas:
        try:
            async with actor.client() as client, actor.stay():
                while actor.agendas:
                    for agenda in actor.agendas:
                        await agenda.publish(client)
                        await actor.sleep(agenda.pause)
        except* MqttError:  # of a burst come several
            await actor.sleep(actor.plan.interval)
    actor.end_if_idle()


async def do_both(actor: Actor) -> None:
    while not actor.done.is_set():
        try:
            async with actor.client() as client, actor.stay(), asyncio.TaskGroup() as tasks:
                if actor.wanted:
                    tasks.create_task(subscribe_and_listen(actor, client))
                for agenda in actor.agendas:
                    tasks.create_task(publish_all(actor, client, agenda))
                tasks.create_task(actor.change_subscriptions(client))
        except* MqttError:
            await actor.sleep(actor.plan.interval)
        actor.end_if_idle()


# A program with a client that reconnects.


async def reconnect(actor: Actor) -> None:
    client = actor.client()
    while not actor.done.is_set():
        entered = False
        watching = asyncio.create_task(watch(client))
        try:
            async with client, actor.stay(), asyncio.TaskGroup() as tasks:
                entered = True
                if actor.wanted:
                    tasks.create_task(subscribe_and_listen(actor, client))
                for agenda in actor.agendas:
                    tasks.create_task(publish_patiently(actor, client, agenda))
                tasks.create_task(change_patiently(actor, client))
        except* MqttError as errors:
            if entered:
                actor.losses.append(errors)
            await actor.sleep(actor.plan.interval)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        actor.end_if_idle()


async def subscribe_patiently(actor: Actor, client: Any, topic_filter: str) -> None:  # noqa: ANN401
    while True:
        try:
            await client.subscribe(topic_filter, actor.plan.filters[topic_filter])
        except MqttError:
            if client.state() is ferromqtt.ClientState.DISCONNECTED:
                raise
            await actor.sleep(actor.plan.interval)
        else:
            return


async def publish_patiently(actor: Actor, client: Any, agenda: Agenda) -> None:  # noqa: ANN401
    while agenda.left:
        try:
            if actor.chance.random() < 0.2:
                await client.wait_connected()
            await agenda.publish(client)
        except* MqttError:
            if client.state() is ferromqtt.ClientState.DISCONNECTED:
                raise
        await actor.sleep(agenda.pause)


async def change_patiently(actor: Actor, client: Any) -> None:  # noqa: ANN401
    while actor.has_changes:
        try:
            await actor.change_subscriptions(client)
        except MqttError:
            if client.state() is ferromqtt.ClientState.DISCONNECTED:
                raise


async def watch(client: Any) -> None:  # noqa: ANN401
    """Check that the events of a connection come in their order."""
    is_connected = False
    async for event in client.events():
        match event:
            case ferromqtt.events.Connected():
                assert not is_connected, event
                is_connected = True
            case ferromqtt.events.Disconnected():
                is_connected = False


async def subscribe_and_listen(actor: Actor, client: Any) -> None:  # noqa: ANN401
    for topic_filter, state in tuple(actor.wanted.items()):
        if state == OFF:
            continue
        if actor.plan.reconnect:
            await subscribe_patiently(actor, client, topic_filter)
        else:
            await client.subscribe(topic_filter, actor.plan.filters[topic_filter])
    async for message in client.messages:
        actor.take(message)
        if actor.done.is_set():
            break


async def publish_all(actor: Actor, client: Any, agenda: Agenda) -> None:  # noqa: ANN401
    while agenda.left:
        await agenda.publish(client)
        await actor.sleep(agenda.pause)


PROGRAMS: dict[Style, Callable[[Actor], Coroutine[Any, Any, None]]] = {
    Style.LISTEN: listen,
    Style.LISTEN_FRESH: listen,
    Style.PUBLISH: publish,
    Style.PUBLISH_FRESH: publish,
    Style.GROUP: do_both,
    Style.RECONNECT: reconnect,
    Style.QUEUES: use_queues,
}
