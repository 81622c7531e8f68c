"""TLS by the standard library's SSLContext (contract 1.2)."""

import asyncio
import ssl
from pathlib import Path

import pytest

from ferromqtt import Client, MqttError, TLSParameters
from support.clients import LIMIT, receive, unique
from support.loops import LoopRunner
from support.mosquitto import Mosquitto

HOST = "localhost"
"""The only name in the server's certificate."""


async def round_trip(client: Client) -> None:
    """Publish and receive a payload larger than a TLS record."""
    topic, payload = unique("tls"), bytes(range(256)) * 4000
    await client.subscribe(topic, qos=1)
    await client.publish(topic, payload, qos=1)
    assert (await receive(client)).payload == payload


def test_context_1_2(run: LoopRunner, mosquitto: Mosquitto) -> None:
    context = ssl.create_default_context(cafile=mosquitto.ca_file)

    async def main() -> None:
        client = Client(HOST, mosquitto.tls_port, tls_context=context)
        for _ in range(2):
            async with client:
                await round_trip(client)

    run(main)


def test_context_that_verifies_nothing_1_2(run: LoopRunner, mosquitto: Mosquitto) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    async def main() -> None:
        async with Client(mosquitto.host, mosquitto.tls_port, tls_context=context) as client:
            await round_trip(client)

    run(main)


def test_parameters_1_2(run: LoopRunner, mosquitto: Mosquitto) -> None:
    parameters = TLSParameters(ca_certs=str(mosquitto.ca_file))

    async def main() -> None:
        client = Client(HOST, mosquitto.tls_port, tls_params=parameters)
        for _ in range(2):
            async with client:
                await round_trip(client)

    run(main)


@pytest.mark.parametrize("requirement", [ssl.CERT_NONE, ssl.CERT_REQUIRED])
def test_certificate_requirement_1_2(
    run: LoopRunner, mosquitto: Mosquitto, requirement: ssl.VerifyMode
) -> None:
    """cert_reqs decides whether a certificate of an unknown authority passes."""
    parameters = TLSParameters(ca_certs=str(mosquitto.other_ca_file), cert_reqs=requirement)

    async def main() -> None:
        client = Client(HOST, mosquitto.tls_port, tls_params=parameters, tls_insecure=True)
        if requirement is ssl.CERT_NONE:
            async with client:
                await round_trip(client)
        else:
            with pytest.raises(MqttError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.__aenter__()

    run(main)


@pytest.mark.parametrize("form", ["context", "parameters"])
def test_unknown_authority_is_refused_1_2(run: LoopRunner, mosquitto: Mosquitto, form: str) -> None:
    """Each attempt says the same: the client is not left "not reentrant"."""
    file = mosquitto.other_ca_file

    async def main() -> None:
        if form == "context":
            context = ssl.create_default_context(cafile=file)
            client = Client(HOST, mosquitto.tls_port, tls_context=context)
        else:
            parameters = TLSParameters(ca_certs=str(file))
            client = Client(HOST, mosquitto.tls_port, tls_params=parameters)
        for _ in range(2):
            with pytest.raises(MqttError, match=r"^\[SSL: CERTIFICATE_VERIFY_FAILED\] ") as caught:
                await client.__aenter__()
            assert isinstance(caught.value.__cause__, ssl.SSLError)

    run(main)


@pytest.mark.parametrize("insecure", [False, True])
def test_host_name_is_checked_unless_told_not_to_1_2(
    run: LoopRunner, mosquitto: Mosquitto, *, insecure: bool
) -> None:
    """The certificate names "localhost", not the address."""
    parameters = TLSParameters(ca_certs=str(mosquitto.ca_file))

    async def main() -> None:
        client = Client(
            mosquitto.host, mosquitto.tls_port, tls_params=parameters, tls_insecure=insecure
        )
        if insecure:
            async with client:
                await round_trip(client)
        else:
            with pytest.raises(MqttError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.__aenter__()

    run(main)


def test_client_certificate_1_2(run: LoopRunner, mosquitto: Mosquitto) -> None:
    parameters = TLSParameters(
        ca_certs=str(mosquitto.ca_file),
        certfile=str(mosquitto.client_certificate),
        keyfile=str(mosquitto.client_key),
    )

    async def main() -> None:
        async with Client(HOST, mosquitto.mutual_tls_port, tls_params=parameters) as client:
            await round_trip(client)
        without = TLSParameters(ca_certs=str(mosquitto.ca_file))
        with pytest.raises(MqttError):
            await Client(
                HOST, mosquitto.mutual_tls_port, tls_params=without, timeout=5
            ).__aenter__()

    run(main)


def test_missing_file_1_2(run: LoopRunner, mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Contract 1.2: seen on enter; the client can then be entered again."""
    parameters = TLSParameters(ca_certs=str(tmp_path / "missing.pem"))

    async def main() -> None:
        client = Client(HOST, mosquitto.tls_port, tls_params=parameters)
        for _ in range(2):
            with pytest.raises(ValueError, match=r"^ca_certs: no such file \".*missing.pem\"$"):
                await client.__aenter__()

    run(main)


def test_plain_listener_spoken_to_in_tls_1_4(run: LoopRunner, mosquitto: Mosquitto) -> None:
    context = ssl.create_default_context(cafile=mosquitto.ca_file)

    async def main() -> None:
        client = Client(HOST, mosquitto.port, tls_context=context, timeout=5)
        with pytest.raises(MqttError):
            await client.__aenter__()

    run(main)


def test_tls_listener_spoken_to_in_plain_1_4(run: LoopRunner, mosquitto: Mosquitto) -> None:
    async def main() -> None:
        async with asyncio.timeout(LIMIT):
            with pytest.raises(MqttError):
                await Client(HOST, mosquitto.tls_port, timeout=5).__aenter__()

    run(main)
