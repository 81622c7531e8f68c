"""What the loop's exception handler gets."""

import asyncio
import logging

from ferromqtt import Client, Message
from ferromqtt.testing import TestBroker
from support.clients import wait_for_queued
from support.provocations import connecting
from support.provocations.registry import CONNECTING, PROVOCATIONS, REPORTS, World, provokes
from support.scripted import ScriptedServer, serve_311

MODULES = (connecting,)
"""Importing them has filled the registry."""


@provokes(REPORTS, "logging raised")
async def _(_: World) -> None:
    def fail(_: logging.LogRecord) -> bool:
        raise RuntimeError

    logger = logging.getLogger("raises")
    logger.addFilter(fail)
    with ScriptedServer(serve_311) as server:
        async with Client(server.host, server.port, logger=logger) as client:
            await client.publish("a", properties={"ContentType": "text/plain"})


@provokes(REPORTS, "`authenticator` raised")
async def _(world: World) -> None:
    await PROVOCATIONS[f"{CONNECTING}: `authenticator` raised"][1](world)


class Raising(asyncio.Queue[Message]):
    def put_nowait(self, _: Message) -> None:
        raise RuntimeError


async def receive_by_a_raising_queue() -> None:
    async with (
        TestBroker() as broker,
        Client(broker.host, broker.port, queue_type=Raising) as client,
    ):
        await client.subscribe("a")
        await client.publish("a", qos=1)


@provokes(REPORTS, "put_nowait raised")
async def _(_: World) -> None:
    await receive_by_a_raising_queue()


class RaisingAtTheLast(asyncio.Queue[Message]):
    def get_nowait(self) -> Message:
        if self.qsize() == 1:
            raise RuntimeError
        return super().get_nowait()


@provokes(REPORTS, "get_nowait raised")
async def _(_: World) -> None:
    async with (
        TestBroker() as broker,
        Client(broker.host, broker.port, queue_type=RaisingAtTheLast) as client,
    ):
        await client.subscribe("a")
        for _number in range(2):
            await client.publish("a", qos=1)
        await wait_for_queued(client, 2)
        await anext(client.messages.batches())
