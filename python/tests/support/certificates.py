"""Makes the certificates of the TLS tests with the openssl program."""

import shutil
import subprocess
from pathlib import Path

CA_CONFIGURATION = """
[ca]
default_ca = tests
[tests]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
"""


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
    issue(folder, "server", "subjectAltName=DNS:localhost\n")
    issue(folder, "client", "extendedKeyUsage=clientAuth\n")


def issue(
    folder: Path, name: str, extension: str, *, authority: str = "ca", expired: bool = False
) -> None:
    """Write NAME.pem/.key, signed by an authority that `make` has made."""
    (folder / f"{name}.ext").write_text(extension)
    subject = ("-subj", f"/CN=ferromqtt test {name}")
    openssl(folder, "req", *subject, *new_key(name), "-out", f"{name}.csr")
    signed = ("-in", f"{name}.csr", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    if expired:
        # Of the commands that sign, this one takes dates of the past in every version.
        (folder / "ca.cnf").write_text(CA_CONFIGURATION)
        (folder / "index.txt").write_text("")
        openssl(
            folder,
            *("ca", "-batch", "-notext", "-config", "ca.cnf", *signed),
            *("-cert", f"{authority}.pem", "-keyfile", f"{authority}.key"),
            *("-startdate", "20200101000000Z", "-enddate", "20200102000000Z"),
        )
        return
    openssl(
        folder,
        *("x509", "-req", "-days", "2", "-CAcreateserial", *signed),
        *("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key"),
    )


def encrypt_key(folder: Path, name: str, password: str) -> None:
    """Write NAME-encrypted.key, which a password opens, next to NAME.key."""
    openssl(
        folder,
        *("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", f"{name}.key"),
        *("-passout", f"pass:{password}", "-out", f"{name}-encrypted.key"),
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
