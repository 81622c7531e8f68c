"""A FastAPI application with one client, which connects again in the background.

Without a connection the handlers answer 503 with the reason; they never fail with 500. In earnest
a server such as uvicorn runs `app`; here FastAPI's test client does, and the broker goes away.

It prints:

    POST /lamp/on -> 202
    GET /lamp -> {'state': 'on'}
    without a broker: POST /lamp/off -> 503
    with a broker again: POST /lamp/off -> 202
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from typing import Annotated

from anyio.from_thread import start_blocking_portal
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from ferromqtt import Client, MqttError
from ferromqtt.testing import TestBroker

SHORTEST, LONGEST = 0.05, 5.0  # seconds between attempts; in earnest rather 1 and 60


class Lamp:
    """The state that the lamp reported last, and why it cannot be reached at the moment."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.state: str | None = None
        self.problem: str | None = "not connected yet"

    async def stay_connected(self) -> None:
        """Connect again whenever the connection ends."""
        pause = SHORTEST
        while True:
            try:
                async with self.client:
                    await self.client.subscribe("lamp")
                    self.problem, pause = None, SHORTEST
                    async for message in self.client.messages:
                        self.state = message.payload.decode(errors="replace")
            except MqttError as error:
                self.problem = str(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    host, port = app.state.broker
    app.state.lamp = Lamp(Client(host, port))
    async with asyncio.TaskGroup() as tasks:  # the application starts without a broker, too
        connection = tasks.create_task(app.state.lamp.stay_connected())
        yield
        connection.cancel()


app = FastAPI(lifespan=lifespan)
app.state.broker = "localhost", 1883


def reachable_lamp(request: Request) -> Lamp:
    lamp: Lamp = request.app.state.lamp
    if lamp.problem is not None:
        raise HTTPException(503, f"no connection to the broker: {lamp.problem}")
    return lamp


@app.exception_handler(MqttError)
async def lost_meanwhile(_: Request, error: Exception) -> JSONResponse:
    """Answer for a handler whose call the broker did not complete."""
    return JSONResponse({"detail": f"the broker did not answer: {error}"}, 503)


@app.post("/lamp/{state}", status_code=202)
async def switch(state: str, lamp: Annotated[Lamp, Depends(reachable_lamp)]) -> None:
    await lamp.client.publish("lamp", state, qos=1)


@app.get("/lamp")
async def last_state(lamp: Annotated[Lamp, Depends(reachable_lamp)]) -> dict[str, str | None]:
    return {"state": lamp.state}


def switch_when_connected(http: TestClient, state: str) -> int:
    while (answer := http.post(f"/lamp/{state}")).status_code == 503:
        time.sleep(0.05)
    return answer.status_code


def state_when_reported(http: TestClient) -> object:
    while (answer := http.get("/lamp").json()) == {"state": None}:
        time.sleep(0.05)
    return answer


if __name__ == "__main__":
    with start_blocking_portal() as thread, ExitStack() as stack:
        broker = stack.enter_context(thread.wrap_async_context_manager(TestBroker()))
        app.state.broker = broker.host, broker.port
        with TestClient(app) as http:
            print("POST /lamp/on ->", switch_when_connected(http, "on"))
            print("GET /lamp ->", state_when_reported(http))
            stack.close()  # the broker stops
            print("without a broker: POST /lamp/off ->", http.post("/lamp/off").status_code)
            with thread.wrap_async_context_manager(TestBroker(port=broker.port)):
                answer = switch_when_connected(http, "off")
                print("with a broker again: POST /lamp/off ->", answer)
