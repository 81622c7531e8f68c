"""Contexts of the user's own class: what they override is honoured or refused (contract 1.2)."""

import functools
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferromqtt import Client
from support import certificates
from support.loops import LoopRunner
from support.scripted import ScriptedServer, over_tls, serve_311

NAMED = {"server_hostname": "localhost"}


class WrapsSockets(ssl.SSLContext):
    """What works with aiomqtt, and would be ignored here."""

    def wrap_socket(self, *args: object, **options: object) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **options | NAMED)  # type: ignore[arg-type]


class WrapsBios(ssl.SSLContext):
    """Names the host of the certificate, whatever was connected to."""

    def wrap_bio(self, *args: object, **options: object) -> ssl.SSLObject:
        return super().wrap_bio(*args, **options | NAMED)  # type: ignore[arg-type]


class WrapsBoth(WrapsSockets, WrapsBios):
    pass


class OwnSocket(ssl.SSLSocket):
    pass


class OwnSockets(ssl.SSLContext):
    sslsocket_class = OwnSocket


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    certificates.make(made)
    return made


@pytest.fixture
def names() -> list[str | None]:
    """Return the names that the server was asked for."""
    return []


@pytest.fixture
def server(folder: Path, names: list[str | None]) -> Iterator[ScriptedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with ScriptedServer(over_tls(context, serve_311)) as running:
        yield running


def made(kind: type[ssl.SSLContext], folder: Path) -> ssl.SSLContext:
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "ca.pem")
    return context


def connect(run: LoopRunner, server: ScriptedServer, context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with Client("127.0.0.1", server.port, tls_context=context) as client:
            await client.publish("a", qos=1)

    run(main)


@pytest.mark.parametrize("kind", [WrapsBios, WrapsBoth])
def test_a_wrap_bio_of_one_s_own_is_honoured_1_2(
    run: LoopRunner,
    server: ScriptedServer,
    folder: Path,
    names: list[str | None],
    kind: type[ssl.SSLContext],
) -> None:
    connect(run, server, made(kind, folder))
    assert names == ["localhost"]


def test_a_wrap_bio_of_the_instance_is_honoured_1_2(
    run: LoopRunner, server: ScriptedServer, folder: Path, names: list[str | None]
) -> None:
    context: Any = made(ssl.SSLContext, folder)
    original = context.wrap_bio

    def wrap_bio(*args: object, **options: object) -> ssl.SSLObject:
        wrapped: ssl.SSLObject = original(*args, **options | NAMED)
        return wrapped

    context.wrap_bio = context.wrap_socket = wrap_bio
    connect(run, server, context)
    assert names == ["localhost"]


def of_class(folder: Path) -> ssl.SSLContext:
    return made(WrapsSockets, folder)


def of_instance(folder: Path) -> ssl.SSLContext:
    context: Any = made(ssl.SSLContext, folder)
    context.wrap_socket = functools.partial(context.wrap_socket, server_hostname="localhost")
    patched: ssl.SSLContext = context
    return patched


def of_sockets(folder: Path) -> ssl.SSLContext:
    return made(OwnSockets, folder)


@pytest.mark.parametrize(
    ("make", "ignored", "used"),
    [
        (of_class, "wrap_socket", "wrap_bio"),
        (of_instance, "wrap_socket", "wrap_bio"),
        (of_sockets, "sslsocket_class", "sslobject_class"),
    ],
)
@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_what_would_be_ignored_is_refused_before_anything_is_sent_1_2(
    run: LoopRunner,
    server: ScriptedServer,
    folder: Path,
    make: Callable[[Path], ssl.SSLContext],
    ignored: str,
    used: str,
    transport: str,
) -> None:
    context = make(folder)

    async def main() -> None:
        client = Client("localhost", server.port, tls_context=context, transport=transport)
        for _ in range(2):
            text = f"^tls_context overrides `{ignored}`.*override `{used}` too"
            with pytest.raises(ValueError, match=text):
                await client.__aenter__()

    run(main)
    assert server.connections == []


def test_a_tool_that_patches_every_context_is_no_override_1_2(
    run: LoopRunner, server: ScriptedServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ssl.SSLContext.wrap_socket

    def traced(*args: object, **options: object) -> ssl.SSLSocket:
        return original(*args, **options)  # type: ignore[arg-type]

    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.check_hostname = False
    with monkeypatch.context() as patch:
        # Here rather than before: the server's own context wraps sockets, too.
        patch.setattr(ssl.SSLContext, "wrap_socket", traced)
        connect(run, server, context)
