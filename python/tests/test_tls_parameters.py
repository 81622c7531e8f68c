"""Each field of TLSParameters, and the files they name (contract 1.2)."""

import asyncio
import errno
import os
import re
import ssl
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ferromqtt import Client, MqttError, MqttReentrantError, TLSParameters
from support.clients import LIMIT
from support.loops import LoopRunner
from support.scripted import ScriptedServer
from support.tls_server import HOST, KEY_PASSWORD, TlsServer, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("certificates"))


def connect(run: LoopRunner, server: TlsServer, parameters: TLSParameters) -> None:
    """Enter, publish and leave."""

    async def main() -> None:
        async with Client(HOST, server.port, tls_params=parameters) as client:
            await client.publish("a", qos=1)

    run(main)


def refuse(
    run: LoopRunner,
    server: ScriptedServer,
    parameters: TLSParameters,
    text: str,
    kind: type[Exception] = MqttError,
) -> None:
    """Enter twice, which fails with this text, a cause, and at once."""

    async def main() -> None:
        client = Client(HOST, server.port, tls_params=parameters)
        for _ in range(2):
            async with asyncio.timeout(LIMIT):
                with pytest.raises(kind, match=text) as caught:
                    await client.__aenter__()
            assert not isinstance(caught.value, MqttReentrantError)
            assert isinstance(caught.value.__cause__, OSError)

    run(main)


@pytest.fixture
def server(folder: Path) -> Iterator[TlsServer]:
    """A server that asks for the client's certificate and takes none for an answer."""
    with TlsServer(folder, ask=True) as running:
        yield running


@pytest.fixture
def trusting(folder: Path) -> TLSParameters:
    return TLSParameters(ca_certs=str(folder / "ca.pem"))


def test_by_default_the_newest_version_and_no_certificate_1_2(
    run: LoopRunner, server: TlsServer, trusting: TLSParameters
) -> None:
    connect(run, server, trusting)
    assert [(version, sent) for version, _, sent in server.seen] == [("TLSv1.3", False)]


def test_without_ca_certs_the_system_s_authorities_count_1_2(
    run: LoopRunner,
    server: TlsServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenSSL lets the environment say where the system's are."""
    monkeypatch.setenv("SSL_CERT_DIR", str(folder / "empty"))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "other-ca.pem"))
    refuse(run, server, TLSParameters(), "CERTIFICATE_VERIFY_FAILED")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    connect(run, server, TLSParameters())
    # and with them the system's do not
    refuse(
        run,
        server,
        TLSParameters(ca_certs=str(folder / "other-ca.pem")),
        "CERTIFICATE_VERIFY_FAILED",
    )


@pytest.mark.parametrize(
    "files",
    [
        {"certfile": "client.pem", "keyfile": "client.key"},
        {"certfile": "client-both.pem"},
        {"certfile": "client.pem", "keyfile": "client-encrypted.key"},
    ],
)
def test_certfile_keyfile_and_its_password_1_2(
    run: LoopRunner,
    server: TlsServer,
    folder: Path,
    trusting: TLSParameters,
    files: dict[str, str],
) -> None:
    parameters = replace(
        trusting,
        keyfile_password=KEY_PASSWORD if "encrypted" in str(files) else None,
        **{name: str(folder / file) for name, file in files.items()},
    )
    connect(run, server, parameters)
    assert [sent for _, _, sent in server.seen] == [True]


def test_wrong_password_of_a_key_1_2(
    run: LoopRunner, server: TlsServer, folder: Path, trusting: TLSParameters
) -> None:
    parameters = replace(
        trusting,
        certfile=str(folder / "client.pem"),
        keyfile=str(folder / "client-encrypted.key"),
        keyfile_password="does not open it",
    )
    text = r'^keyfile_password does not open ".*client-encrypted.key"$'
    refuse(run, server, parameters, text, ValueError)


def test_key_of_another_certificate_1_2(
    run: LoopRunner, server: TlsServer, folder: Path, trusting: TLSParameters
) -> None:
    parameters = replace(
        trusting, certfile=str(folder / "client.pem"), keyfile=str(folder / "server.key")
    )
    text = r'^keyfile: the private key in ".*server.key" does not belong to .* in ".*client.pem"'
    refuse(run, server, parameters, text, ValueError)


@pytest.mark.parametrize("requirement", [None, ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL])
def test_cert_reqs_that_verify_1_2(
    run: LoopRunner, server: TlsServer, folder: Path, requirement: ssl.VerifyMode | None
) -> None:
    refuse(
        run,
        server,
        TLSParameters(ca_certs=str(folder / "other-ca.pem"), cert_reqs=requirement),
        r"^\[SSL: CERTIFICATE_VERIFY_FAILED\] ",
    )
    connect(run, server, TLSParameters(ca_certs=str(folder / "ca.pem"), cert_reqs=requirement))


def test_cert_reqs_none_verifies_nothing_1_2(
    run: LoopRunner, server: TlsServer, folder: Path
) -> None:
    """Not the name either."""
    parameters = TLSParameters(ca_certs=str(folder / "other-ca.pem"), cert_reqs=ssl.CERT_NONE)

    async def main() -> None:
        for host in (HOST, "127.0.0.1"):
            async with Client(host, server.port, tls_params=parameters) as client:
                await client.publish("a", qos=1)

    run(main)


@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (ssl.PROTOCOL_TLS_CLIENT, "TLSv1.3"),
        (ssl.PROTOCOL_TLS, "TLSv1.3"),
        (ssl.PROTOCOL_TLSv1_2, "TLSv1.2"),
    ],
)
def test_tls_version_1_2(
    run: LoopRunner,
    server: TlsServer,
    trusting: TLSParameters,
    version: ssl._SSLMethod,
    spoken: str,
) -> None:
    connect(run, server, replace(trusting, tls_version=version))
    assert [it for it, _, _ in server.seen] == [spoken]


def test_ciphers_1_2(run: LoopRunner, server: TlsServer, trusting: TLSParameters) -> None:
    name = "ECDHE-ECDSA-CHACHA20-POLY1305"
    parameters = replace(trusting, ciphers=name, tls_version=ssl.PROTOCOL_TLSv1_2)
    connect(run, server, parameters)
    assert [(version, cipher) for version, cipher, _ in server.seen] == [("TLSv1.2", name)]
    wrong = replace(trusting, ciphers="NO-SUCH-CIPHER")
    refuse(run, server, wrong, "^ciphers: OpenSSL knows none of 'NO-SUCH-CIPHER'", ValueError)


@pytest.mark.parametrize("field", ["ca_certs", "certfile", "keyfile"])
def test_missing_file_of_each_field_1_2(
    run: LoopRunner, server: TlsServer, folder: Path, trusting: TLSParameters, field: str
) -> None:
    """The text names option and file, on enter and not before."""
    files = {"certfile": str(folder / "client.pem"), "keyfile": str(folder / "client.key")}
    parameters = replace(trusting, **files | {field: str(folder / "missing.pem")})
    refuse(run, server, parameters, rf'^{field}: no such file ".*missing.pem"$', ValueError)
    assert server.seen == []


@pytest.mark.parametrize("field", ["ca_certs", "certfile"])
def test_file_that_holds_something_else_1_2(
    run: LoopRunner, server: TlsServer, folder: Path, trusting: TLSParameters, field: str
) -> None:
    parameters = replace(trusting, **{field: str(folder / "nonsense.pem")})
    text = rf'^{field}: ".*nonsense.pem" holds no certificate in PEM form$'
    refuse(run, server, parameters, text, ValueError)


def test_key_file_that_holds_no_key_1_2(
    run: LoopRunner, server: TlsServer, folder: Path, trusting: TLSParameters
) -> None:
    files = {"certfile": str(folder / "client.pem"), "keyfile": str(folder / "nonsense.pem")}
    text = r'^keyfile: ".*nonsense.pem" holds no private key in PEM form$'
    refuse(run, server, replace(trusting, **files), text, ValueError)


@pytest.mark.parametrize("field", ["ca_certs", "certfile"])
def test_directory_in_place_of_a_file_1_2(
    run: LoopRunner, server: TlsServer, folder: Path, trusting: TLSParameters, field: str
) -> None:
    text = rf'^{field}: ".*" is a directory: give a file in PEM form$'
    refuse(run, server, replace(trusting, **{field: str(folder)}), text, ValueError)


@pytest.mark.parametrize("field", ["ca_certs", "certfile", "keyfile"])
def test_file_that_cannot_be_looked_at_1_2(
    run: LoopRunner,
    server: TlsServer,
    folder: Path,
    trusting: TLSParameters,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
) -> None:
    """As an ordinary user in a directory like /etc/ssl/private, whoever runs the test."""
    stat = Path.stat
    wanted = "private/key.pem"

    def refuse_to_search(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if str(path) == wanted:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), wanted)
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refuse_to_search)
    files = {"certfile": str(folder / "client-both.pem"), field: wanted}
    text = rf'^{field}: this user may not read "{wanted}"$'
    refuse(run, server, replace(trusting, **files), text, ValueError)


def test_path_that_is_too_long_1_2(
    run: LoopRunner, server: TlsServer, trusting: TLSParameters
) -> None:
    """The text shows the beginning of it."""
    text = r'^ca_certs: cannot read "(/x){250}\.\.\.": File name too long$'
    refuse(run, server, replace(trusting, ca_certs="/x" * 3000), text, ValueError)


def test_path_with_control_characters_1_2(
    run: LoopRunner, server: TlsServer, trusting: TLSParameters
) -> None:
    text = r'^ca_certs: no such file "/x/\\x1b\[31m\\n\\udcff"$'
    refuse(run, server, replace(trusting, ca_certs="/x/\x1b[31m\n\udcff"), text, ValueError)


@pytest.mark.parametrize("field", ["ca_certs", "certfile", "keyfile"])
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "must not be empty: give the path of a file, or None."),
        ("a\0b", r'must not contain U+0000: "a\x00b".'),
        ("a\ud800", r'must be valid Unicode text: "a\ud800" has a lone surrogate.'),
    ],
)
def test_path_that_no_file_can_have_1_2(
    run: LoopRunner, folder: Path, trusting: TLSParameters, field: str, path: str, text: str
) -> None:
    files = {"certfile": str(folder / "client-both.pem"), field: path}

    async def main() -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(f'{field} {text}')}$"):
            await Client(HOST, 1, tls_params=replace(trusting, **files)).__aenter__()

    run(main)


def test_ciphers_with_a_null_character_1_2(run: LoopRunner, trusting: TLSParameters) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=r"^ciphers: OpenSSL knows none of 'x\\x00'"):
            await Client(HOST, 1, tls_params=replace(trusting, ciphers="x\0")).__aenter__()

    run(main)


def test_a_huge_file_is_not_held_in_memory_1_2(
    run: LoopRunner, server: TlsServer, tmp_path: Path
) -> None:
    """Of whatever a path leads to, the check reads a bounded part."""
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(64 << 20)  # sparse
    parameters = TLSParameters(ca_certs=str(huge))
    tracemalloc.start()
    try:
        refuse(run, server, parameters, "holds no certificate in PEM form", ValueError)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
