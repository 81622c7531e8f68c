"""The `ssl.SSLContext` of a client."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from ferromqtt.options import TLSParameters


class TLSContext:
    """The user's context, or one that is made of parameters when it is first needed."""

    __slots__ = ("_context", "_insecure", "_params")

    def __init__(
        self,
        context: ssl.SSLContext | None,
        params: TLSParameters | None,
        insecure: bool | None,
    ) -> None:
        self._context = context
        self._params = params
        self._insecure = insecure

    async def get(self) -> ssl.SSLContext | None:
        """Return the context; None without TLS.

        Reading certificate files blocks, so a thread does it. Raises OSError when one cannot be
        read, or holds something else than it should.
        """
        if self._context is None and self._params is not None:
            self._context = await asyncio.to_thread(_make, self._params)
        if self._context is not None and self._insecure is not None:
            self._context.check_hostname = not self._insecure
        return self._context


def _make(params: TLSParameters) -> ssl.SSLContext:
    context = ssl.SSLContext(params.tls_version or ssl.PROTOCOL_TLS_CLIENT)
    if params.certfile is not None:
        password = _no_password if params.keyfile_password is None else params.keyfile_password
        context.load_cert_chain(params.certfile, params.keyfile, password)
    if params.cert_reqs == ssl.CERT_NONE:
        context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if params.cert_reqs is None else params.cert_reqs
    if params.ca_certs is not None:
        context.load_verify_locations(params.ca_certs)
    else:
        context.load_default_certs()
    if params.ciphers is not None:
        context.set_ciphers(params.ciphers)
    return context


def _no_password() -> NoReturn:
    # OpenSSL would ask for it on the terminal.
    raise ValueError("The private key is encrypted: give its keyfile_password.")
