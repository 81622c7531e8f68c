"""The client for threads."""

import asyncio
import functools
import logging
import os
import threading
from typing import Any

from ferromqtt import MqttError
from ferromqtt.blocking import Client
from support import packets
from support.blocking import Outcome, mute, watched_waits
from support.clients import LIMIT
from support.provocations.registry import BLOCKING, LOG, REPORTS, World, provokes
from support.scripted import Connection, ScriptedServer, serve_311


def loop_of(client: Client) -> Any:  # noqa: ANN401  its private parts are used, too
    thread = client._ferromqtt_blocking.thread
    assert thread is not None
    return thread._loop


@provokes(BLOCKING, "The call would wait for itself")
async def _(_: World) -> None:
    errors: list[BaseException] = []

    class Handler(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            errors.append(Outcome.of(functools.partial(client.publish, "a")))

    logger = logging.getLogger("publishes")
    logger.addHandler(Handler())
    properties = {"ContentType": "text/plain"}
    with ScriptedServer(serve_311) as server:
        client = Client(server.host, server.port, logger=logger, max_concurrent_outgoing_calls=1)
        with client:
            client.publish("a", properties=properties)
    raise errors[0]


@provokes(BLOCKING, "the message has not ended")
async def _(_: World) -> None:
    with ScriptedServer(mute) as server, Client(server.host, server.port) as client:
        client.enqueue("a", qos=1).wait(0.01)


@provokes(BLOCKING, "before this process was forked")
async def _(_: World) -> None:
    with ScriptedServer(serve_311) as server, Client(server.host, server.port) as client:
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            text = str(Outcome.of(functools.partial(client.publish, "a")))
            os.write(writing, text.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        os.waitpid(process, 0)  # noqa: ASYNC222  it ends at once
    raise RuntimeError(text)


@provokes(BLOCKING, "could not be entered")
async def _(_: World) -> None:
    fail = threading.Event()

    def script(connection: Connection) -> None:
        connection.expect(packets.CONNECT)
        assert fail.wait(LIMIT)
        connection.close()

    with ScriptedServer(script) as server, watched_waits() as waits:
        client = Client(server.host, server.port)
        entering = Outcome(client.__enter__)
        waits.expect()
        iterating = Outcome(lambda: next(client.messages()))
        waits.expect()
        fail.set()
        entering.error()
        raise iterating.error()


def let_the_loop_fail() -> BaseException:
    with ScriptedServer(mute) as server, Client(server.host, server.port) as client:
        loop = loop_of(client)
        select = loop._selector.select

        def fail(_: float | None) -> None:
            loop._selector.select = select
            raise ZeroDivisionError

        def be_about_to_fail() -> None:
            loop._selector.select = fail

        loop.call_soon_threadsafe(be_about_to_fail)
        client._ferromqtt_blocking.thread._thread.join(LIMIT)  # type: ignore[union-attr]
        return Outcome.of(lambda: client.subscribe("a"))


@provokes(BLOCKING, "event loop has failed")
async def _(_: World) -> None:
    raise let_the_loop_fail()


@provokes(LOG, "event loop has failed")
async def _(_: World) -> None:
    assert isinstance(let_the_loop_fail(), MqttError)


@provokes(REPORTS, "a callback raised")
async def _(_: World) -> None:
    def stop() -> None:
        raise SystemExit

    here = asyncio.get_running_loop()
    with ScriptedServer(serve_311) as server, Client(server.host, server.port) as client:
        loop = loop_of(client)
        loop.set_exception_handler(lambda _, context: here.call_exception_handler(context))
        loop.call_soon_threadsafe(stop)
        client.publish("a", qos=1)
        client.subscribe("a")
