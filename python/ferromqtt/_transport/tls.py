"""The `ssl.SSLContext` of a client."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ssl
import threading
from typing import TYPE_CHECKING, Any

from ferromqtt._native import Host

if TYPE_CHECKING:
    from ferromqtt._client_options import ClientOptions
    from ferromqtt.options import TLSParameters


class TLSContext:
    """The user's context, or one that is made of parameters for each connection."""

    __slots__ = (
        "_alpn",
        "_over_unix",
        "_params",
        "_reading",
        "_server_name",
        "_user_context",
        "_verifies",
    )

    def __init__(self, options: ClientOptions) -> None:
        self._user_context = options.tls_context
        self._params = options.tls_params
        self._verifies = None if options.tls_insecure is None else not options.tls_insecure
        self._over_unix = options.transport == "unix"
        self._server_name = options.tls_server_hostname
        self._alpn = options.alpn
        # A reading that an earlier attempt has left unfinished: where a file system hangs, one
        # thread waits for it, and not one for each attempt.
        self._reading: concurrent.futures.Future[ssl.SSLContext] | None = None

    @property
    def server_name(self) -> str:
        """The name that was asked for with `tls_server_hostname`; "" for none."""
        return Host(self._server_name).name if self._server_name else ""

    async def get(self) -> ssl.SSLContext | None:
        """Return the context; None without TLS.

        Reading certificate files blocks, so a thread does it, for each connection: certificates are
        renewed while programs run. Raises ValueError when one cannot be read, or holds something
        else than it should, and for a context that would be ignored in part.
        """
        context = self._user_context
        if context is not None:
            _check_overrides(context)
        elif self._params is not None:
            context = await self._read(self._params)
            if self._alpn is not None:
                context.set_alpn_protocols([self._alpn])
        if context is None:
            return None
        if self._verifies is not None:
            context.check_hostname = self._verifies
        if self._over_unix and context.check_hostname and not self.server_name:
            raise ValueError(
                "TLS over a Unix socket has no host to verify: give tls_server_hostname, the name "
                "in the server's certificate."
            )
        return context

    async def _read(self, params: TLSParameters) -> ssl.SSLContext:
        reading = self._reading
        if reading is None or reading.done():  # what was read before may be out of date
            reading = concurrent.futures.Future()
            # Not a thread of the loop's executor: a file system that hangs would keep the executor
            # from resolving names, and the process from ending.
            threading.Thread(
                target=_make_into, args=(reading, params), name="ferromqtt-files", daemon=True
            ).start()
            self._reading = reading
        try:
            # Not `asyncio.wrap_future`: a loop with a virtual clock waits for jobs of executors. It
            # knows of no other threads.
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(_UnderWay(reading), _make, params)
        finally:
            if reading.done():
                self._reading = None


class _UnderWay(concurrent.futures.Executor):
    """An executor for one job, which has been given to a thread already."""

    def __init__(self, job: concurrent.futures.Future[ssl.SSLContext]) -> None:
        self._job = job

    def submit(self, *_: object, **__: object) -> concurrent.futures.Future[Any]:
        return self._job


def _check_overrides(context: ssl.SSLContext) -> None:
    """Refuse a context with a `wrap_socket` of its own, which nobody would call.

    asyncio and uvloop make connections with `wrap_bio` and `sslobject_class`, where aiomqtt makes
    them with `wrap_socket` and `sslsocket_class`.
    """
    for ignored, used in (("wrap_socket", "wrap_bio"), ("sslsocket_class", "sslobject_class")):
        if _is_overridden(context, ignored) and not _is_overridden(context, used):
            raise ValueError(
                f"tls_context overrides `{ignored}`, which is not used for asyncio connections: "
                f"override `{used}` too, or give tls_server_hostname if the server's certificate "
                "has another name than its host."
            )


def _is_overridden(context: ssl.SSLContext, name: str) -> bool:
    if name in vars(context):
        return True
    # Not by comparing the attributes: tools that patch the class return a new wrapper each time.
    definers = (base for base in type(context).__mro__ if name in vars(base))
    return next(definers, ssl.SSLContext) is not ssl.SSLContext


def _make_into(reading: concurrent.futures.Future[ssl.SSLContext], params: TLSParameters) -> None:
    if not reading.set_running_or_notify_cancel():
        return
    try:
        context = _make(params)
    except BaseException as error:  # noqa: BLE001 - the task that waits raises it
        reading.set_exception(error)
    else:
        reading.set_result(context)


def _make(params: TLSParameters) -> ssl.SSLContext:
    from ferromqtt._transport import files  # noqa: PLC0415 - for those who have some

    context = ssl.SSLContext(params.tls_version or ssl.PROTOCOL_TLS_CLIENT)
    if params.certfile is not None:
        files.load_chain(context, params.certfile, params.keyfile, params.keyfile_password)
    if params.cert_reqs == ssl.CERT_NONE:
        context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if params.cert_reqs is None else params.cert_reqs
    if params.ca_certs is not None:
        files.load_authorities(context, params.ca_certs)
    else:
        context.load_default_certs()
    if params.ciphers is not None:
        try:
            context.set_ciphers(params.ciphers)
        except (ssl.SSLError, ValueError) as error:  # ValueError: it has a U+0000
            raise ValueError(
                f"ciphers: OpenSSL knows none of {params.ciphers!r}. The option does not concern "
                "those of TLS 1.3."
            ) from error
    return context
