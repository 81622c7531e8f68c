"""Responders and routers."""

import asyncio
from collections.abc import Callable, Iterator

from ferromqtt import Client, Message, Request, Router
from ferromqtt.testing import TestBroker
from support.provocations.registry import ARGUMENTS, CALLS, LOG, Given, World, provokes


def generator(message: Message) -> Iterator[Message]:
    """No handler: it is not run when it is called."""
    yield message


def refusing(part: str, make: Callable[[Router], object]) -> None:
    @provokes(ARGUMENTS, part)
    async def refuse(_: World) -> None:
        make(Router())


refusing("A handler needs a filter", lambda router: router.on())
refusing("the filter of a handler", lambda router: router.on(print))  # type: ignore[arg-type]
refusing("has a yield", lambda router: router.on("a")(generator))
refusing("Make a router first", lambda _: Router.on("a", "b"))  # type: ignore[arg-type]
refusing("a handler must be", lambda router: router.on("a")(None))  # type: ignore[type-var]
refusing("concurrency must be int", lambda router: router.on("a", concurrency="4"))  # type: ignore[arg-type]
refusing("concurrency must be 1", lambda router: router.on("a", concurrency=0))
refusing("on_error must be", lambda _: Router(on_error="log"))  # type: ignore[arg-type]


@provokes(ARGUMENTS, "client must be a ferromqtt.Client")
async def _(_: World) -> None:
    await Router().run(None)  # type: ignore[arg-type]


@provokes(ARGUMENTS, "The router has no handlers")
async def _(_: World) -> None:
    await Router().run(Client("localhost"))


@provokes(CALLS, "This Request has no client")
async def _(_: World) -> None:
    await Request("a", b"", 0, False, 0, None).respond("x")


async def play(router: Router, **options: Given) -> None:
    """Let each handler have a message, and raise what ends the router."""
    async with TestBroker(listen=False) as broker, Client(broker, **options) as client:
        started = asyncio.Event()
        running = asyncio.create_task(router.run(client, started=started))
        await started.wait()
        await client.publish("a", qos=1)
        router.stop()
        await running


@provokes(CALLS, "A handler has cancelled the task")
async def _(_: World) -> None:
    router = Router()

    @router.on("a")
    async def cancel_itself(_: Message) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    await play(router)


@provokes(CALLS, "The handler has awaited something")
async def _(_: World) -> None:
    def raise_again(error: Exception, _: Message) -> None:
        raise error

    router = Router(on_error=raise_again)

    @router.on("a")
    async def wait_for_nothing(_: Message) -> None:
        work = asyncio.get_running_loop().create_future()
        work.cancel()
        await work

    await play(router)


@provokes(ARGUMENTS, "The handler has returned a generator")
async def _(_: World) -> None:
    def raise_again(error: Exception, _: Message) -> None:
        raise error

    router = Router(on_error=raise_again)

    @router.on("a")
    def handle(message: Message) -> object:
        return generator(message)

    await play(router)


@provokes(ARGUMENTS, "It is an argument of the handler")
async def _(_: World) -> None:
    router = Router()
    router.on("a", qos=5)(print)
    await router.run(Client("localhost"))


def failing(part: str, **options: Given) -> None:
    @provokes(LOG, part)
    async def fail(_: World) -> None:
        router = Router()

        @router.on("a", qos=1)
        async def handle(_: Message) -> None:
            raise ValueError

        await play(router, **options)


failing("The handler {name} of {filters} failed on a message to {topic}")
failing("holds up those behind it", manual_ack=True)


@provokes(LOG, "asks for no response was passed over")
async def _(_: World) -> None:
    async with (
        TestBroker(listen=False) as broker,
        Client(broker, protocol=5) as client,
        client.responder("a") as requests,
    ):
        await client.publish("a", qos=1)
        assert requests.try_next() is None
