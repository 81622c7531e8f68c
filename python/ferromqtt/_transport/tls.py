"""Making an `ssl.SSLContext`."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferromqtt.options import TLSParameters


async def make_context(params: TLSParameters) -> ssl.SSLContext:
    """Return a context made of `params`. Reading certificate files blocks, so a thread does it.

    Raises OSError when a file cannot be read, or holds something else than it should.
    """
    return await asyncio.to_thread(_make, params)


def _make(params: TLSParameters) -> ssl.SSLContext:
    context = ssl.SSLContext(params.tls_version or ssl.PROTOCOL_TLS_CLIENT)
    if params.certfile is not None:
        context.load_cert_chain(params.certfile, params.keyfile, params.keyfile_password)
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
