"""Files of TLSParameters that are slow, hang, or are renewed (contract 1.2)."""

import asyncio
import concurrent.futures
import contextlib
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferromqtt import Client, MqttError, TLSParameters
from ferromqtt._transport import tls
from support import certificates
from support.clients import LIMIT
from support.loops import LoopRunner
from support.scripted import Connection, ScriptedServer, over_tls, serve_311
from support.tls_server import HOST, TlsServer, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(folder: Path) -> Iterator[TlsServer]:
    """A server that asks for the client's certificate and takes none for an answer."""
    with TlsServer(folder, ask=True) as running:
        yield running


@pytest.fixture
def trusting(folder: Path) -> TLSParameters:
    return TLSParameters(ca_certs=str(folder / "ca.pem"))


@contextlib.contextmanager
def slow_file(path: Path, content: bytes) -> Iterator[Path]:
    """A pipe instead of a file: whoever reads it waits until it is filled.

    It is filled at the end at the latest, and also when the test itself hangs: a reader that keeps
    waiting could not be stopped.
    """
    os.mkfifo(path)

    def release() -> None:
        # for reading too: so it opens even if there is no reader
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        os.write(pipe, content)
        os.close(pipe)

    rescue = threading.Timer(LIMIT, release)
    rescue.start()
    try:
        yield path
    finally:
        rescue.cancel()
        release()


def put_in_place(pipe: Path, content: bytes) -> None:
    """Make the pipe an ordinary file."""
    pipe.unlink()
    pipe.write_bytes(content)


async def somebody_reads(pipe: Path) -> int:
    """Wait until the pipe is being read; return the descriptor to write into."""
    async with asyncio.timeout(LIMIT / 2):
        while True:
            try:
                return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("field", ["ca_certs", "certfile", "keyfile"])
def test_the_loop_turns_while_a_file_is_read_1_2(
    run: LoopRunner,
    server: TlsServer,
    folder: Path,
    trusting: TLSParameters,
    tmp_path: Path,
    field: str,
) -> None:
    """The file is a pipe that is filled only after the loop has turned a thousand times."""
    files = {
        "ca_certs": folder / "ca.pem",
        "certfile": folder / "client.pem",
        "keyfile": folder / "client.key",
    }
    content = files[field].read_bytes()
    files[field] = tmp_path / "slow.pem"
    parameters = replace(trusting, **{name: str(file) for name, file in files.items()})

    async def main(slow: Path) -> None:
        client = Client(HOST, server.port, tls_params=parameters)
        entering = asyncio.ensure_future(client.__aenter__())
        pipe = await somebody_reads(slow)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not entering.done()
        os.write(pipe, content)
        os.close(pipe)
        await asyncio.wait_for(entering, LIMIT)
        await client.publish("a", qos=1)
        await client.__aexit__(None, None, None)

    with slow_file(files[field], content) as slow:
        run(main, slow)
    assert [sent for _, _, sent in server.seen] == [True]


@pytest.mark.parametrize("how", ["time limit", "cancelled"])
def test_a_file_that_is_never_read_ends_in_time_1_2(
    run: LoopRunner, server: TlsServer, folder: Path, tmp_path: Path, how: str
) -> None:
    """The enter does not wait for the thread that reads; the client is usable afterwards."""
    content = (folder / "ca.pem").read_bytes()

    async def main(slow: Path) -> None:
        client = Client(HOST, server.port, tls_params=TLSParameters(str(slow)), timeout=0.5)
        entering = asyncio.ensure_future(client.__aenter__())
        pipe = await somebody_reads(slow)
        if how == "cancelled":
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(entering, LIMIT)
        else:
            with pytest.raises(MqttError, match=r"^Operation timed out: "):
                await asyncio.wait_for(entering, LIMIT)
        os.write(pipe, content)
        os.close(pipe)
        put_in_place(slow, content)
        client.timeout = LIMIT
        async with client:
            await client.publish("a", qos=1)

    with slow_file(tmp_path / "silent.pem", content) as slow:
        run(main, slow)


def test_files_are_read_again_on_each_enter_1_2(
    run: LoopRunner, folder: Path, tmp_path: Path
) -> None:
    """A certificate that was renewed on disk is the one of the next connection."""
    shown: list[str] = []
    files = {name: tmp_path / f"own.{name}" for name in ("pem", "key")}
    ca_file = tmp_path / "ca.pem"

    def install(name: str, authority: str = "ca") -> None:
        ca_file.write_bytes((folder / f"{authority}.pem").read_bytes())
        for ending, file in files.items():
            file.write_bytes((folder / f"{name}.{ending}").read_bytes())

    def note(connection: Connection) -> None:
        assert isinstance(connection.sock, ssl.SSLSocket)
        certificate: Any = connection.sock.getpeercert()
        shown.append(certificate["subject"][0][0][1])
        serve_311(connection)

    async def main(server: ScriptedServer) -> None:
        parameters = TLSParameters(str(ca_file), str(files["pem"]), str(files["key"]))
        client = Client(HOST, server.port, tls_params=parameters)
        for name in ("client", "renewed"):
            install(name)
            async with client:
                await client.publish("a", qos=1)
        install("renewed", "other-ca")
        with pytest.raises(MqttError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.__aenter__()
        files["key"].unlink()
        with pytest.raises(ValueError, match=r"^keyfile: no such file "):
            await client.__aenter__()
        install("client")
        async with client:
            await client.publish("a", qos=1)

    certificates.issue(folder, "renewed", "extendedKeyUsage=clientAuth\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with ScriptedServer(over_tls(context, note)) as server:
        run(main, server)
    assert shown == [f"ferromqtt test {name}" for name in ("client", "renewed", "client")]


def test_a_file_system_that_hangs_holds_one_thread_1_2(
    run: LoopRunner,
    server: TlsServer,
    trusting: TLSParameters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt that is given up leaves its reading to the next one."""
    begun, mounted = threading.Event(), threading.Event()
    readings: list[TLSParameters] = []
    make = tls._make

    def hang(parameters: TLSParameters) -> ssl.SSLContext:
        readings.append(parameters)
        begun.set()
        mounted.wait(LIMIT)
        return make(parameters)

    monkeypatch.setattr(tls, "_make", hang)

    async def main() -> None:
        client = Client(HOST, server.port, tls_params=trusting, timeout=0.05)
        try:
            for _ in range(5):
                with pytest.raises(MqttError, match=r"^Operation timed out: "):
                    await client.__aenter__()
            assert await asyncio.to_thread(begun.wait, LIMIT)
            assert len(readings) == 1
        finally:
            mounted.set()
        client.timeout = LIMIT
        for _ in range(2):
            async with client:
                await client.publish("a", qos=1)
        assert len(readings) in (2, 3)  # the second enter may have come while the first one ended

    run(main)


def test_a_file_system_that_hangs_holds_no_thread_of_the_loop_1_2(
    run: LoopRunner, trusting: TLSParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop's executor resolves names; one thread of it that waits would be all there is."""
    begun, mounted = threading.Event(), threading.Event()

    def hang(_: TLSParameters) -> ssl.SSLContext:
        begun.set()
        mounted.wait(LIMIT)
        raise OSError

    monkeypatch.setattr(tls, "_make", hang)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(max_workers=1))
        entering = asyncio.ensure_future(Client(HOST, 1, tls_params=trusting).__aenter__())
        try:
            await asyncio.sleep(0)
            async with asyncio.timeout(LIMIT / 2):
                assert await asyncio.to_thread(begun.wait, LIMIT)
            assert not entering.done()
        finally:
            mounted.set()
            entering.cancel()
            await asyncio.wait([entering])

    run(main)


HANGS = """
import asyncio, sys
from ferromqtt import Client, MqttError, TLSParameters

async def main():
    client = Client("localhost", 1, tls_params=TLSParameters(ca_certs=sys.argv[1]), timeout=0.05)
    try:
        await client.__aenter__()
    except MqttError as error:
        print(error)

asyncio.run(main())
"""


def test_a_file_that_hangs_does_not_keep_the_process_from_ending_1_2(tmp_path: Path) -> None:
    pipe = tmp_path / "silent.pem"
    os.mkfifo(pipe)
    ended = subprocess.run(
        [sys.executable, "-c", HANGS, str(pipe)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    assert ended.stdout.startswith("Operation timed out: the certificate files for localhost:1 ")
    assert ended.stderr == ""
