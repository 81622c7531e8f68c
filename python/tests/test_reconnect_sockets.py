"""Reconnecting over sockets, to mosquitto."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from ferromqtt import Client, ProtocolVersion, Reconnect, TLSParameters, events
from ferromqtt._internals import internals_of
from support.clients import LIMIT, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto

SOON = Reconnect(min=0.01, max=0.1)


def cut(client: Client) -> None:
    """Cut the connection below the client, which learns of it as of any other loss."""
    transport = internals_of(client).core.transport
    assert transport is not None
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("over", ["tcp", "tls", "websockets"])
@pytest.mark.parametrize("protocol", [ProtocolVersion.V311, ProtocolVersion.V5])
def test_a_connection_that_is_cut_comes_back(
    run: LoopRunner, mosquitto: Mosquitto, over: str, protocol: ProtocolVersion
) -> None:
    topic = unique("cut")
    given: dict[str, Any] = {
        "tcp": {"port": mosquitto.port},
        "tls": {
            "port": mosquitto.tls_port,
            "tls_params": TLSParameters(ca_certs=str(mosquitto.ca_file)),
        },
        "websockets": {"port": mosquitto.websocket_port, "transport": "websockets"},
    }[over]

    async def main() -> None:
        client = Client("localhost", protocol=protocol, reconnect=SOON, timeout=LIMIT, **given)
        async with client:
            reader = client.events()
            await client.subscribe(topic, qos=2)
            for number in range(2):
                assert isinstance(await anext(reader), events.Connected)
                cut(client)
                assert isinstance(await anext(reader), events.Disconnected)
                await client.publish(topic, str(number), qos=2)
                assert (await anext(client.messages)).payload == str(number).encode()

    run(main)


def test_certificates_are_read_again_for_each_attempt(
    run: LoopRunner,
    mosquitto: Mosquitto,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    authorities = tmp_path / "ca.pem"
    good = mosquitto.ca_file.read_bytes()
    authorities.write_bytes(good)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        client = Client(
            "localhost",
            mosquitto.tls_port,
            tls_params=TLSParameters(ca_certs=str(authorities)),
            reconnect=SOON,
            timeout=LIMIT,
        )
        async with client:
            reader = client.events()
            authorities.write_bytes(b"no certificate")
            loop.set_exception_handler(lambda *_: None)
            cut(client)
            async for event in reader:
                if isinstance(event, events.Disconnected) and "ValueError" in str(event.cause):
                    break
            authorities.write_bytes(good)
            await client.publish(unique("renewed"), qos=1)

    run(main)
    assert f"cannot connect: localhost:{mosquitto.tls_port}: ValueError" in caplog.text
