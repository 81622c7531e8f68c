"""Loading certificate and key files, with errors that name the option and the file.

OpenSSL names neither: "[SSL] PEM lib" may be a wrong password, and a file that holds something
else. So what is wrong is found out once loading has failed. No text shows what is in a file.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ferromqtt import _shown

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_CERTIFICATES = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEYS = (b"PRIVATE KEY-----",)
_MOST_READ = 1 << 20
"""How many bytes of a file are searched for what it should hold: the text before a certificate is
much shorter, and the path may be that of a disk."""


def load_authorities(context: ssl.SSLContext, ca_certs: str) -> None:
    """Trust the authorities in a file. Raises ValueError that says what is wrong with it."""
    _check_path("ca_certs", ca_certs)
    try:
        context.load_verify_locations(ca_certs)
    except OSError as error:
        why = _unusable("ca_certs", ca_certs, _CERTIFICATES, "certificate")
        raise ValueError(why or f'ca_certs: cannot use "{_name(ca_certs)}": {error}') from error


def load_chain(
    context: ssl.SSLContext, certfile: str, keyfile: str | None, keyfile_password: str | None
) -> None:
    """Load the client's certificate and key. Raises ValueError that says what is wrong."""
    _check_path("certfile", certfile)
    if keyfile is not None:
        _check_path("keyfile", keyfile)
    key_option, key_path = ("certfile", certfile) if keyfile is None else ("keyfile", keyfile)
    password: str | Callable[[], str] | None = keyfile_password
    if keyfile_password is None:

        def password() -> str:
            # OpenSSL would ask for it on the terminal.
            raise ValueError(
                f'{key_option}: the private key in "{_name(key_path)}" is encrypted: '
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


def _check_path(option: str, path: str) -> None:
    """Refuse what no file can be called. Python's own errors for it do not name the option."""
    text = os.fsdecode(path)
    if not text:
        raise ValueError(f"{option} must not be empty: give the path of a file, or None.")
    if "\0" in text:
        raise ValueError(f'{option} must not contain U+0000: "{_name(path)}".')
    try:
        os.fsencode(text)
    except UnicodeError:
        raise ValueError(
            f'{option} must be valid Unicode text: "{_name(path)}" has a lone surrogate.'
        ) from None


def _unfit(error: OSError, certfile: str, key_option: str, key_path: str) -> str:
    """Return why OpenSSL refuses files that look as they should."""
    reason = getattr(error, "reason", None) or ""
    if "KEY_VALUES_MISMATCH" in reason or "KEY_TYPE_MISMATCH" in reason:
        return (
            f'{key_option}: the private key in "{_name(key_path)}" does not belong to the '
            f'certificate in "{_name(certfile)}", where the client\'s own must stand first'
        )
    content = None
    with contextlib.suppress(OSError):
        content = _content(key_path)
    if content is not None and b"ENCRYPTED" in content:
        return f'keyfile_password does not open "{_name(key_path)}"'
    return (
        f'certfile, keyfile: cannot use "{_name(certfile)}" and "{_name(key_path)}" together: '
        f"{error}"
    )


def _unusable(option: str, path: str, marks: tuple[bytes, ...], what: str) -> str | None:
    """Return why a file cannot hold what it should; None if it looks as if it did."""
    name = _name(path)
    try:
        content = _content(path)
    except IsADirectoryError:
        return f'{option}: "{name}" is a directory: give a file in PEM form'
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
    """Return the beginning of a file; None for a pipe and the like, which can be read once only."""
    file = Path(os.fsdecode(path))
    mode = file.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return None
    with file.open("rb") as opened:
        return opened.read(_MOST_READ)


def _name(path: str) -> str:
    return _shown.text(os.fsdecode(path))
