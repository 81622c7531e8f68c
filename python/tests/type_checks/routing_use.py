"""Responders and routers as type checkers see them."""

import asyncio
import json
from typing import Any, assert_type

from ferromqtt import (
    Client,
    Message,
    Request,
    Requests,
    Responder,
    Router,
    TypedMessage,
    blocking,
    json_codec,
)


async def respond(client: Client) -> None:
    async for request in client.responder("square", ("cube", 2), qos=1, overflow="wait"):
        assert_type(request, Request)
        message: Message = request
        await request.respond(message.payload, qos=1, retain=False, timeout=3)
    async with client.responder("square", maxsize=10, ack="manual") as requests:
        assert_type(requests, Requests)
        assert_type(requests.passed_over, int)
        assert_type(requests.try_next(), Request | None)
        async for request in requests:
            await request.respond({1: 2})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
            await request.respond({1: 2}, codec=json)
            await request.ack()


class Numbers:
    """Half a codec, which a responder takes."""

    def decode(self, payload: bytes, /) -> list[int]:
        return [*map(int, payload.split())]


async def requests_have_the_type_of_the_codec(client: Client) -> None:
    assert_type(client.responder("a"), Responder)
    async for request in client.responder("sum/{of}", codec=Numbers(), qos=1):
        assert_type(request, Request[list[int]])
        assert_type(request.value, list[int])
        await request.respond(sum(request.value))
        message: TypedMessage[list[int]] = request
        print(message.params["of"])
    async with client.responder("sum", codec=json_codec(dict[str, float])) as requests:
        assert_type(requests, Requests[dict[str, float]])
        assert_type(requests.try_next(), Request[dict[str, float]] | None)
        assert_type((await anext(requests)).value["a"], float)
    async with client.responder("sum", codec=json) as of_any:
        assert_type(of_any, Requests[Any])
    client.responder("sum", codec="json")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def the_same_for_threads(client: blocking.Client) -> None:
    assert_type(client.responder("a"), blocking.Responder)
    for request in client.responder("sum", codec=Numbers()):
        assert_type(request, blocking.Request[list[int]])
        request.respond(sum(request.value))
    with client.responder("sum", codec=Numbers(), maxsize=10) as requests:
        assert_type(requests, blocking.Requests[list[int]])
        assert_type(requests.try_next(), blocking.Request[list[int]] | None)
        assert_type(next(requests.within(1)).value, list[int])


def failed(error: Exception, message: Message) -> None:
    print(error, message.topic)


async def failed_later(error: Exception, message: Message) -> None:
    print(error, message.topic)


router = Router(on_error=failed)
other = Router(on_error=failed_later)


@router.on("alarms/#", qos=1)
async def alarm(message: Message) -> None:
    print(message.payload)


@router.on("room/+/temp", "garden/temp", concurrency=4, overflow="drop_oldest")
def temperature(message: Message) -> float:
    return float(message.payload)


@router.on("room/{room}/reading", codec=json_codec(dict[str, float]))
async def reading(message: TypedMessage[dict[str, float]]) -> None:
    print(message.params["room"], message.value["celsius"])


@router.respond("sum", maxsize=None, codec=json_codec(dict[str, float]))
async def total(request: Request[dict[str, float]]) -> dict[str, float]:
    return {"sum": sum(request.value.values())}


@router.respond("square", qos=1)
async def square(request: Request) -> int:
    return int(request.payload) ** 2


@router.respond("clock")
def clock(_: Request) -> str:
    return "half past nine"


async def run(client: Client) -> None:
    started = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(router.run(client, started=started))
        await started.wait()
        router.stop()
    message = Message("a", b"1", 0, False, 0, None)
    assert_type(temperature(message), float)  # the decorator returns the function
    await alarm(message)


def misuse(client: Client) -> None:
    client.responder("a", max_size=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    router.on("a", overflow="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @router.on("a")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    async def without_message() -> None: ...

    @router.respond("a")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    async def without_request() -> str:
        return ""
