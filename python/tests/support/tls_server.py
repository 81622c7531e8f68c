"""A scripted server behind TLS, and the certificates that it and its clients have."""

import ssl
from pathlib import Path

from support import certificates
from support.scripted import Connection, ScriptedServer, over_tls, serve_311

HOST = "localhost"
KEY_PASSWORD = "opens the key"


def make_folder(made: Path) -> Path:
    """Fill a folder with certificates, the client's key also locked by a password."""
    certificates.make(made)
    certificates.encrypt_key(made, "client", KEY_PASSWORD)
    both = (made / "client.pem").read_bytes() + (made / "client.key").read_bytes()
    (made / "client-both.pem").write_bytes(both)
    (made / "nonsense.pem").write_text("this is no certificate\n")
    return made


class TlsServer(ScriptedServer):
    """Behaves; knows each connection's version, cipher and the client's certificate."""

    def __init__(self, folder: Path, *, ask: bool = False) -> None:
        self.seen: list[tuple[str | None, str, bool]] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        if ask:
            context.load_verify_locations(folder / "ca.pem")
            context.verify_mode = ssl.CERT_OPTIONAL
        super().__init__(over_tls(context, self._serve))

    def _serve(self, connection: Connection) -> None:
        sock = connection.sock
        assert isinstance(sock, ssl.SSLSocket)
        cipher = sock.cipher()
        assert cipher is not None
        self.seen.append((sock.version(), cipher[0], bool(sock.getpeercert(binary_form=True))))
        serve_311(connection)
