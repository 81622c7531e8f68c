"""One attempt to connect: how far it has come, and the exception for its failure."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

from ferromqtt import _shown
from ferromqtt._native import Hint, Phase, authority, failure_text
from ferromqtt._transport.memory import BrokerDownError
from ferromqtt.exceptions import MqttError, MqttTimeoutError

if TYPE_CHECKING:
    from ferromqtt.exceptions import ConnectPhase
    from ferromqtt.options import ClientOptions

_NAMES: dict[Phase, ConnectPhase] = {
    Phase.RESOLVE: "resolve",
    Phase.TCP: "tcp",
    Phase.UNIX: "unix",
    Phase.PROXY: "proxy",
    Phase.TLS: "tls",
    Phase.WEBSOCKET: "websocket",
    Phase.CONNECT: "connect",
}

_OVERDUE = {
    None: "the certificate files for {address} could not be read",
    Phase.RESOLVE: "the addresses of {address} were not found",
    Phase.TCP: "no TCP connection to {address}",
    Phase.UNIX: "no connection to the socket {address}",
    Phase.PROXY: "no answer of the proxy for {address}",
    Phase.TLS: "no TLS handshake with {address}",
    Phase.WEBSOCKET: "no WebSocket handshake with {address}",
    Phase.CONNECT: "no CONNACK from {address}",
}

_CERTIFICATE_HINTS = {
    9: Hint.CERTIFICATE_TIME,  # not yet valid
    10: Hint.CERTIFICATE_TIME,  # expired
    18: Hint.CERTIFICATE_ISSUER,  # self-signed
    19: Hint.CERTIFICATE_ISSUER,  # self-signed in the chain
    20: Hint.CERTIFICATE_ISSUER,  # unable to get the local issuer
    21: Hint.CERTIFICATE_ISSUER,  # unable to verify the first certificate
    62: Hint.CERTIFICATE_NAME,  # hostname mismatch
    64: Hint.CERTIFICATE_NAME,  # IP address mismatch
}
"""By OpenSSL's X509_V_ERR_* numbers."""

_CLIENT_CERTIFICATE = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "ALERT_CERTIFICATE")
_NO_COMMON_TLS = ("HANDSHAKE_FAILURE", "PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS")


_HINTS: tuple[tuple[Phase, type[OSError], Hint], ...] = (
    (Phase.TCP, ConnectionRefusedError, Hint.NOBODY_LISTENS),
    (Phase.UNIX, ConnectionRefusedError, Hint.NO_SOCKET),
    (Phase.UNIX, FileNotFoundError, Hint.NO_SOCKET),
    (Phase.UNIX, PermissionError, Hint.SOCKET_PERMISSION),
    (Phase.PROXY, ConnectionError, Hint.NO_PROXY),
    (Phase.TLS, ConnectionError, Hint.SPEAKS_NO_TLS),
    (Phase.WEBSOCKET, ConnectionError, Hint.NO_WEBSOCKET),
    (Phase.CONNECT, ConnectionError, Hint.UNANSWERED),
)

_WRONG_PORT = (Hint.SPEAKS_NO_TLS, Hint.NO_WEBSOCKET)
"""What asks whether it is the right port."""

_MOST_DETAILS = 5
"""Of how many addresses an error says what became of them; a name may have hundreds."""

_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH)

IN_MEMORY = "the test broker"
"""What stands for host and port where a `TestBroker` was given."""


class Attempt:
    """One attempt to connect.

    Attributes:
        address: Where it leads to, for people.
        phase: How far it has come; None while nothing of the network was asked.
        hint: What to do about a failure of this moment, where only its place in the code knows.
        awaits_credentials: Whether a function of the user's is to return credentials first.
        is_known: Whether this server has accepted a connection since the client was entered, so
            that the port is the right one.
    """

    __slots__ = (
        "_details",
        "_in_memory",
        "_more",
        "_over_websocket",
        "address",
        "awaits_credentials",
        "hint",
        "is_known",
        "phase",
        "through_proxy",
    )

    def __init__(self, options: ClientOptions) -> None:
        self.address = address_of(options)
        self.phase: Phase | None = None
        self.hint: Hint | None = None
        self._details: list[str] = []
        self._more = 0
        self.through_proxy = False
        self.awaits_credentials = False
        self.is_known = False
        self._over_websocket = options.transport == "websockets"
        self._in_memory = options.broker is not None

    def through(self, host: str, port: int) -> None:
        """Note that the connection leads through a proxy."""
        self.through_proxy = True
        self.address += f" through the proxy {authority(host, port)}"

    def failed_at(self, where: object, error: OSError) -> None:
        """Note what became of one of the host's addresses."""
        if len(self._details) < _MOST_DETAILS:
            self._details.append(f"{where}: {error.strerror or error}")
        else:
            self._more += 1

    def forget_addresses(self) -> None:
        """Leave out what became of addresses: one of them is connected."""
        self._details.clear()
        self._more = 0

    @property
    def details(self) -> str:
        """What became of each of the host's addresses, of the first few if there are many."""
        more = [f"and {self._more} more addresses"] if self._more else []
        return "; ".join([*self._details, *more])

    def error(self, cause: Exception) -> MqttError:
        """Return the exception for a failure of the present phase."""
        if self._in_memory:
            return stopped_error(self.address, cause)
        phase = self.phase or Phase.TCP
        hint = self.hint
        if hint is None and not (self.through_proxy and phase is Phase.TCP):
            hint = hint_for(phase, cause)
        if self.is_known and hint in _WRONG_PORT:
            hint = None
        if hint is Hint.SPEAKS_NO_TLS and self._over_websocket:
            hint = Hint.SPEAKS_NO_TLS_FOR_WEBSOCKET
        return connect_error(self.address, phase, cause, self.details, hint)

    def overdue(self, seconds: float) -> MqttTimeoutError:
        """Return the exception for an attempt that takes too long."""
        what = "no credentials for {address}" if self.awaits_credentials else _OVERDUE[self.phase]
        what = what.format(address=self.address)
        hint = ""
        if self.phase is Phase.CONNECT and not self._in_memory and not self.is_known:
            hint = " (does the port expect TLS or WebSocket?)"
        error = MqttTimeoutError(f"Operation timed out: {what} within {seconds:g} s{hint}")
        error.phase = None if self.phase is None else _NAMES[self.phase]
        error.address = self.address
        return error


def address_of(options: ClientOptions) -> str:
    """Return where a client connects to, for people."""
    if options.broker is not None:
        return IN_MEMORY
    if options.transport == "unix":
        return repr(_shown.host(options.hostname, path=True))
    return authority(options.hostname, options.port)


def connect_error(
    address: str, phase: Phase, cause: Exception, detail: str = "", hint: Hint | None = None
) -> MqttError:
    """Return the exception for a failure to connect: what the system says, as in aiomqtt, first."""
    said = str(cause)
    text = failure_text(address, phase, detail, hint)
    error = MqttError(f"{said}: cannot connect to {text}" if said else f"Cannot connect to {text}")
    error.phase = _NAMES[phase]
    error.address = address
    error.__cause__ = cause
    return error


def stopped_error(address: str, cause: Exception) -> MqttError:
    """Return the exception for a test broker that refuses a link in memory."""
    if isinstance(cause, BrokerDownError):
        text = f"{cause}: cannot connect to {address}: a fault keeps it down until restart or heal"
    else:
        text = (
            f"{cause}: cannot connect to {address}: it is stopped (start it again, or make another)"
        )
    error = MqttError(text)
    error.phase = _NAMES[Phase.CONNECT]
    error.address = address
    error.__cause__ = cause
    return error


def hint_for(phase: Phase, cause: Exception) -> Hint | None:
    """Return what to do about an error of the system or of OpenSSL, if that is known."""
    if phase is Phase.WEBSOCKET and isinstance(cause.__cause__, OSError):
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLError):
        return _tls_hint(phase, cause)
    if phase is Phase.RESOLVE:
        again = isinstance(cause, OSError) and cause.errno == socket.EAI_AGAIN
        return Hint.RESOLVER_UNREACHABLE if again else Hint.UNKNOWN_NAME
    if phase in (Phase.PROXY, Phase.WEBSOCKET) and getattr(cause, "errno", None) is None:
        return None  # what the peer has answered: that text says what to do
    for at, kind, hint in _HINTS:
        if phase is at and isinstance(cause, kind):
            return hint
    if phase is Phase.TCP and isinstance(cause, OSError) and cause.errno in _NO_ROUTE:
        return Hint.NO_ROUTE
    return None


def _tls_hint(phase: Phase, error: ssl.SSLError) -> Hint | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_HINTS.get(error.verify_code)
    reason = error.reason or ""
    if any(part in reason for part in _CLIENT_CERTIFICATE):
        return Hint.CLIENT_CERTIFICATE
    if any(part in reason for part in _NO_COMMON_TLS):
        return Hint.NO_COMMON_TLS
    return Hint.SPEAKS_NO_TLS if phase is Phase.TLS else None


def bind_hint(error: OSError) -> Hint:
    """Return what to do about a local address or port that cannot be used."""
    match error.errno:
        case errno.EADDRINUSE:
            return Hint.LOCAL_PORT_IN_USE
        case errno.EACCES:
            return Hint.LOCAL_PORT_RESERVED
    return Hint.LOCAL_ADDRESS
