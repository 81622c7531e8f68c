"""Provokes what acknowledging by hand raises."""

import asyncio
import os
from collections.abc import Callable

from ferromqtt import Client, Message, ProtocolVersion
from ferromqtt.testing import TestBroker

from .registry import ARGUMENTS, CALLS, Given, World, provokes


async def with_message(act: Callable[[Message], object], **options: Given) -> None:
    given = {"protocol": ProtocolVersion.V5, "manual_ack": True} | options
    async with Client(TestBroker(listen=False), **given) as client:
        await client.subscribe("a", qos=1)
        await client.publish("a", "x", qos=1)
        act(await anext(client.messages))


def rejecting(part: str, *args: Given, **given: Given) -> None:
    @provokes(ARGUMENTS, part)
    async def _(_: World) -> None:
        await with_message(lambda message: message.reject(*args, **given))


rejecting("reason_code must be int", "no")
rejecting("by which a client refuses", 0)
rejecting("reason_string must be str", reason_string=b"no")


@provokes(CALLS, "call loop.call_soon_threadsafe")
async def _(_: World) -> None:
    async with Client(TestBroker(listen=False), manual_ack=True) as client:
        await client.subscribe("a", qos=1)
        await client.publish("a", "x", qos=1)
        message = await anext(client.messages)
        await asyncio.to_thread(message.ack)


@provokes(CALLS, "received before this process was forked")
async def _(_: World) -> None:
    def in_child(message: Message) -> None:
        reader, writer = os.pipe()
        if not (child := os.fork()):
            try:
                message.ack()
            except RuntimeError as error:
                os.write(writer, str(error).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as said:
            text = said.read()
        os.waitpid(child, 0)
        raise RuntimeError(text)

    await with_message(in_child)


@provokes(CALLS, "acknowledged this message on receipt")
async def _(_: World) -> None:
    await with_message(lambda message: message.ack(), manual_ack=False)


@provokes(CALLS, "made, copied or unpickled")
async def _(_: World) -> None:
    Message("a", b"", 1, False, 1, None).ack()


@provokes(CALLS, "reject() needs MQTT 5.0")
async def _(_: World) -> None:
    await with_message(lambda message: message.reject(), protocol=ProtocolVersion.V311)
