"""Clients that reconnect, with several servers and credentials for each attempt."""

import asyncio
import contextlib
import logging
from typing import Any

from ferromqtt import Client, MqttError, Reconnect
from ferromqtt._internals import internals_of
from ferromqtt.testing import TestBroker
from support.loops import settle
from support.provocations.options import options
from support.provocations.registry import (
    CALLS,
    CONNECTING,
    LOG,
    OPTIONS,
    REPORTS,
    World,
    provokes,
)

SOON = Reconnect(min=0.01, max=0.02)


def policy(part: str, **given: Any) -> None:  # noqa: ANN401 - those of Reconnect
    """A policy of reconnecting that is none."""

    @provokes(OPTIONS, part)
    async def refuse(_: World) -> None:
        Reconnect(**given)


policy("min and max must be seconds", min=2, max=1)
policy("jitter must be", jitter=2)
policy("attempts must be", attempts=0)
options("is not [address]:port", servers=["[::1"])
options("has no port behind its colon", servers=["two:"])
options("servers: the port must be", servers=["two:0"])
options("servers: the host", servers=["two words"])
options("do not go together", servers=[TestBroker(listen=False)])


def raise_it(*_: object) -> None:
    raise ValueError("secret")


async def wait_forever(*_: object) -> None:
    await asyncio.get_running_loop().create_future()


@provokes(CONNECTING, "`credentials` raised")
async def _(_: World) -> None:
    await Client(TestBroker(listen=False), credentials=raise_it).__aenter__()


@provokes(REPORTS, "`credentials` raised")
async def _(_: World) -> None:
    with contextlib.suppress(MqttError):
        await Client(TestBroker(listen=False), credentials=raise_it).__aenter__()


def returning(part: str, given: Any) -> None:  # noqa: ANN401 - what is no credentials
    """A function that returns no credentials."""

    @provokes(CONNECTING, part)
    async def refuse(_: World) -> None:
        await Client(TestBroker(listen=False), credentials=lambda *_: given).__aenter__()


returning("must return Credentials", 5)
returning("`credentials`: {field} must be", (5, "secret"))


@provokes(CONNECTING, "no credentials for")
async def _(_: World) -> None:
    client = Client(TestBroker(listen=False), credentials=wait_forever, timeout=0.01)
    await client.__aenter__()


@provokes(CALLS, "no connection to {address} within")
async def _(_: World) -> None:
    await Client(TestBroker(listen=False)).wait_connected(0.01)


def losing(part: str) -> None:
    """A broker that is stopped and started again."""

    @provokes(LOG, part)
    async def lose(world: World) -> None:
        broker = TestBroker(listen=False)
        with world.caplog.at_level(logging.INFO, logger="ferromqtt"):
            async with Client(broker, reconnect=SOON) as client:
                await broker.stop()
                await settle()
                while "cannot connect" not in world.caplog.text:  # noqa: ASYNC110  the log tells
                    await asyncio.sleep(0.01)
                await broker.start()
                await client.wait_connected()


losing("connection lost: {reason} ({address})")
losing("cannot connect: {reason}")
losing("connected to {address}")
losing("disconnected from {address}")


@provokes(LOG, "cannot connect, and the client connects no more")
async def _(_: World) -> None:
    broker = TestBroker(listen=False)
    async with Client(broker, reconnect=Reconnect(min=0.01, max=0.01, attempts=1)) as client:
        await broker.stop()
        with contextlib.suppress(MqttError):
            await anext(client.messages)


@provokes(LOG, "connection lost, and the client connects no more")
async def _(_: World) -> None:
    options: dict[str, Any] = {"identifier": "c", "protocol": 5}
    broker = TestBroker(listen=False)
    async with Client(broker, reconnect=True, **options) as client, Client(broker, **options):
        with contextlib.suppress(MqttError):
            await anext(client.messages)


@provokes(LOG, "A task waits for the connection")
async def _(_: World) -> None:
    with contextlib.suppress(MqttError):
        await Client(TestBroker(listen=False)).wait_connected(0.01)


@provokes(LOG, "was not renewed")
async def _(world: World) -> None:
    broker = TestBroker(listen=False)
    async with Client(broker, reconnect=SOON) as client:
        await client.subscribe("a")
        internals_of(client).options.broker = TestBroker(listen=False, deny_subscribe=["a"])
        await broker.stop()
        while "not renewed" not in world.caplog.text:  # noqa: ASYNC110  the log tells
            await asyncio.sleep(0.01)
