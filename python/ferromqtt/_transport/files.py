"""Loading certificate and key files, with errors that name the option and the file.

OpenSSL names neither: "[SSL] PEM lib" may be a wrong password, and a file that holds something
else. So what is wrong is found out once loading has failed. No text shows what is in a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_CERTIFICATES = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEYS = (b"PRIVATE KEY-----",)


def load_authorities(context: ssl.SSLContext, ca_certs: str) -> None:
    """Trust the authorities in a file. Raises ValueError that says what is wrong with it."""
    try:
        context.load_verify_locations(ca_certs)
    except OSError as error:
        why = _unusable("ca_certs", ca_certs, _CERTIFICATES, "certificate")
        raise ValueError(why or f'ca_certs: cannot use "{_shown(ca_certs)}": {error}') from error


def load_chain(
    context: ssl.SSLContext, certfile: str, keyfile: str | None, keyfile_password: str | None
) -> None:
    """Load the client's certificate and key. Raises ValueError that says what is wrong."""
    key_option, key_path = ("certfile", certfile) if keyfile is None else ("keyfile", keyfile)
    password: str | Callable[[], str] | None = keyfile_password
    if keyfile_password is None:

        def password() -> str:
            # OpenSSL would ask for it on the terminal.
            raise ValueError(
                f'{key_option}: the private key in "{_shown(key_path)}" is encrypted: '
                "give keyfile_password"
            )

    try:
        context.load_cert_chain(certfile, keyfile, password)
    except OSError as error:
        why = (
            _unusable("certfile", certfile, _CERTIFICATES, "certificate")
            or _unusable(key_option, key_path, _KEYS, "private key")
            or _unfit(error, certfile, key_option, key_path)
        )
        raise ValueError(why) from error


def _unfit(error: OSError, certfile: str, key_option: str, key_path: str) -> str:
    """Return why OpenSSL refuses files that look as they should."""
    reason = getattr(error, "reason", None) or ""
    if "KEY_VALUES_MISMATCH" in reason or "KEY_TYPE_MISMATCH" in reason:
        return (
            f'{key_option}: the private key in "{_shown(key_path)}" does not belong to the '
            f'certificate in "{_shown(certfile)}", where the client\'s own must stand first'
        )
    if b"ENCRYPTED" in (_content(key_path) or b""):
        return f'keyfile_password does not open "{_shown(key_path)}"'
    return (
        f'certfile, keyfile: cannot use "{_shown(certfile)}" and "{_shown(key_path)}" together: '
        f"{error}"
    )


def _unusable(option: str, path: str, marks: tuple[bytes, ...], what: str) -> str | None:
    """Return why a file cannot hold what it should; None if it looks as if it did."""
    name = _shown(path)
    if Path(name).is_dir():
        return f'{option}: "{name}" is a directory: give a file in PEM form'
    try:
        content = _content(path)
    except FileNotFoundError:
        return f'{option}: no such file "{name}"'
    except PermissionError:
        return f'{option}: this user may not read "{name}"'
    except OSError as error:
        return f'{option}: cannot read "{name}": {error.strerror or error}'
    if content is None or any(mark in content for mark in marks):
        return None
    return f'{option}: "{name}" holds no {what} in PEM form'


def _content(path: str) -> bytes | None:
    """Return what a file holds; None for a pipe and the like, which can be read once only."""
    file = Path(_shown(path))
    return None if file.exists() and not file.is_file() else file.read_bytes()


def _shown(path: str) -> str:
    return os.fsdecode(path)
