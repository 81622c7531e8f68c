"""A FastAPI application that holds one client for as long as it runs.

In earnest a server such as uvicorn runs `app`; here FastAPI's test client does.

It prints:

    POST /lamp/on -> 202
    GET /lamp -> {'state': 'on'}
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from ferromqtt import Client
from ferromqtt.testing import TestBroker


async def listen(client: Client, app: FastAPI) -> None:
    async for message in client.messages:
        app.state.lamp.put_nowait(message.payload.decode())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        app.state.mqtt, app.state.lamp = client, asyncio.Queue[str]()
        await client.subscribe("lamp")
        async with asyncio.TaskGroup() as tasks:
            listener = tasks.create_task(listen(client, app))
            yield
            listener.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/lamp/{state}", status_code=202)
async def switch(state: str, request: Request) -> None:
    await request.app.state.mqtt.publish("lamp", state, qos=1)


@app.get("/lamp")
async def next_state(request: Request) -> dict[str, str]:
    return {"state": await request.app.state.lamp.get()}


if __name__ == "__main__":
    with TestClient(app) as http:
        print("POST /lamp/on ->", http.post("/lamp/on").status_code)
        print("GET /lamp ->", http.get("/lamp").json())
