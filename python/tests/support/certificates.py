"""Makes the certificates of the TLS tests with the openssl program."""

import shutil
import subprocess
from pathlib import Path


def make(folder: Path) -> None:
    """Write ca.pem, other-ca.pem, server.pem/.key (name "localhost" only) and client.pem/.key."""
    assert shutil.which("openssl"), (
        "these tests need openssl, install it with: apt-get install openssl"
    )
    for authority in ("ca", "other-ca"):
        openssl(
            folder,
            *("req", "-x509", "-days", "2", "-subj", f"/CN=ferromqtt test {authority}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *(*new_key(authority), "-out", f"{authority}.pem"),
        )
    for name, extension in (
        ("server", "subjectAltName=DNS:localhost\n"),
        ("client", "extendedKeyUsage=clientAuth\n"),
    ):
        (folder / f"{name}.ext").write_text(extension)
        openssl(
            folder,
            "req",
            "-subj",
            f"/CN=ferromqtt test {name}",
            *new_key(name),
            "-out",
            f"{name}.csr",
        )
        openssl(
            folder,
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )


def new_key(name: str) -> tuple[str, ...]:
    """Return the options that make an elliptic key: a hundred times faster to make than RSA."""
    curve = "ec_paramgen_curve:prime256v1"
    return ("-newkey", "ec", "-pkeyopt", curve, "-nodes", "-keyout", f"{name}.key")


def openssl(folder: Path, *arguments: str) -> None:
    """Run one openssl command in the folder; its messages come with the error."""
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"openssl {arguments[0]} failed:\n{done.stderr}"
