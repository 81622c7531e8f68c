"""A broker for tests, in the running event loop, and a loop in which waiting takes no time.

`TestBroker` serves clients in memory, and on sockets. `VirtualLoop` is the loop. For pytest there
are fixtures: docs/testing.md has recipes for them, for unittest and for Rust.

It is not a production broker: passwords are held in the clear, and all it knows ends with it. Its
memory is bounded, in messages and bytes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, Unpack

from ferromqtt import _lazy
from ferromqtt._broker_host import Connection, Host
from ferromqtt._broker_listening import (
    Listening,
    TcpListener,
    UnixListener,
    listening_at,
    listening_at_path,
    server_context,
)
from ferromqtt._broker_options import BrokerOptions, BrokerStats, Denials, SessionStats
from ferromqtt._broker_recording import LOOPBACK, BrokerRecording, tell_replay_failure
from ferromqtt._checks import wrong_type
from ferromqtt._client_keywords import MemoryClientKeywords, with_defaults_of
from ferromqtt._faults import Duration, Fault, Link, PacketKind
from ferromqtt._internals import internals_of
from ferromqtt._native import Broker, TestAuthority
from ferromqtt._recording import ReplayError, diff, show
from ferromqtt._transport import memory
from ferromqtt.client import Client
from ferromqtt.reasons import ReasonCode

if TYPE_CHECKING:
    from ferromqtt._chaos import Chaos, SeedFailure, run_seeds
    from ferromqtt._journal import JournalMessage, JournalPacket
    from ferromqtt._virtual_loop import Jump, StuckError, VirtualLoop
else:
    __getattr__, __dir__ = _lazy.names(
        __name__,
        {
            "Chaos": "ferromqtt._chaos",
            "JournalMessage": "ferromqtt._journal",
            "JournalPacket": "ferromqtt._journal",
            "Jump": "ferromqtt._virtual_loop",
            "SeedFailure": "ferromqtt._chaos",
            "StuckError": "ferromqtt._virtual_loop",
            "VirtualLoop": "ferromqtt._virtual_loop",
            "run_seeds": "ferromqtt._chaos",
        },
    )

__all__ = [
    "AUTH",
    "CONNACK",
    "CONNECT",
    "DISCONNECT",
    "PINGREQ",
    "PINGRESP",
    "PUBACK",
    "PUBCOMP",
    "PUBLISH",
    "PUBREC",
    "PUBREL",
    "SUBACK",
    "SUBSCRIBE",
    "UNSUBACK",
    "UNSUBSCRIBE",
    "BrokerOptions",
    "BrokerStats",
    "Chaos",
    "Denials",
    "Duration",
    "Fault",
    "JournalMessage",
    "JournalPacket",
    "Jump",
    "Link",
    "Listening",
    "PacketKind",
    "ReplayError",
    "SeedFailure",
    "SessionStats",
    "StuckError",
    "TestBroker",
    "VirtualLoop",
    "diff",
    "run_seeds",
    "show",
]

CONNECT: Final = PacketKind.CONNECT
CONNACK: Final = PacketKind.CONNACK
PUBLISH: Final = PacketKind.PUBLISH
PUBACK: Final = PacketKind.PUBACK
PUBREC: Final = PacketKind.PUBREC
PUBREL: Final = PacketKind.PUBREL
PUBCOMP: Final = PacketKind.PUBCOMP
SUBSCRIBE: Final = PacketKind.SUBSCRIBE
SUBACK: Final = PacketKind.SUBACK
UNSUBSCRIBE: Final = PacketKind.UNSUBSCRIBE
UNSUBACK: Final = PacketKind.UNSUBACK
PINGREQ: Final = PacketKind.PINGREQ
PINGRESP: Final = PacketKind.PINGRESP
DISCONNECT: Final = PacketKind.DISCONNECT
AUTH: Final = PacketKind.AUTH

_MAX_PORT = 65535


class TestBroker(BrokerRecording):
    """An MQTT 3.1, 3.1.1 and 5.0 broker in this process.

    Clients of this package connect to it in memory, without a port, from when it is constructed:

    ```python
    broker = TestBroker(listen=False)
    async with broker.client() as client:
        await client.publish("greeting", "hello")
    ```

    Other clients connect to a loopback socket, on which it listens once it is started:

    ```python
    async with TestBroker() as broker, Client(broker.host, broker.port) as client:
        await client.publish("greeting", "hello")
    ```

    `listen` adds sockets of any kind, for TLS, WebSocket and Unix.

    It makes faults on demand, and tells what happened:

    ```python
    broker.sends(PUBACK).nth(3).lose().cut()
    broker.link("pump-7").half_open()
    await broker.wait_for("site/+/level", json={"level": 28.4}, qos=1)
    print(broker.chart())
    ```

    It belongs to the event loop in which it is first used. When that loop is closed, it goes on in
    the next one with its sessions and retained messages, and connections that were left open count
    as lost: a test can run a program several times by `asyncio.run`. A stop forgets everything;
    until then a start that follows use in memory keeps what there is.

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        listen: Whether a start listens. False: it can be reached in memory only.
        record: A file to record the packets of each connection to, which is made or emptied: what
            the clients see, written as it goes by. User Names, Passwords and Authentication Data
            are masked. See docs/recordings.md.
        record_payloads: Whether payloads, Correlation Data and User Properties are recorded, and
            not their lengths and hashes alone. A recording with them can be replayed.
        options: What else to set: see `BrokerOptions`.

    Raises:
        TypeError: There is no such option, or an argument has the wrong type.
        ValueError: The port, or the value of an option, is out of its range, or an address is given
            to a broker that is not to listen.
        OSError: The file to record to cannot be made, or another recorder writes to it.

    """

    __test__ = False  # a class that tests use, not one for pytest to collect

    def __init__(
        self,
        host: str = LOOPBACK,
        port: int = 0,
        *,
        listen: bool = True,
        record: str | os.PathLike[str] | None = None,
        record_payloads: bool = False,
        **options: Unpack[BrokerOptions],
    ) -> None:
        _check_address(host, port)
        if not isinstance(listen, bool):
            raise wrong_type("listen", "bool", listen)
        if not listen and (host, port) != (LOOPBACK, 0):
            raise ValueError(
                "listen=False leaves the broker without an address: leave out host and port"
            )
        self._host_name = host
        self._port = self._requested_port = port
        self._listens = listen
        self._options = options
        self._broker: Broker | None = self._new_broker()
        self._record(record, record_payloads)  # behind all that can be wrong: it empties the file
        self._host: Host | None = None
        self._started = False
        self._authority: TestAuthority | None = None
        self._clients: weakref.WeakSet[Client] = weakref.WeakSet()

    @property
    def host(self) -> str:
        """The address that it listens on.

        Raises:
            RuntimeError: It does not listen.
        """
        self._check_listens()
        return self._host_name

    @property
    def port(self) -> int:
        """The port that it listens on; before the start the one that was asked for.

        Raises:
            RuntimeError: It does not listen, or a free port is taken only when it is started.
        """
        self._check_listens()
        if not self._port:
            raise RuntimeError(
                "The test broker has no port yet: start it by `async with broker`, or give the "
                "client the broker itself, Client(broker)"
            )
        return self._port

    @property
    def url(self) -> str:
        """The broker's address as `mqtt://host:port`.

        Raises:
            RuntimeError: As for `host` and `port`.
        """
        return self._url(self.host, self.port)

    @staticmethod
    def _url(host: str, port: int) -> str:
        return listening_at(host, port, tls=False, websocket=False).url

    @with_defaults_of(Client.__init__, MemoryClientKeywords)
    def client(
        self, identifier: str | None = None, **options: Unpack[MemoryClientKeywords]
    ) -> Client:
        """Return a client that connects to this broker in memory: to be entered by `async with`.

        Args:
            identifier: Client Identifier, as for `Client`.
            options: The other keyword arguments of `Client`, except `transport`.

        Raises:
            ValueError: An argument is wrong, or makes no sense in memory.
            TypeError: There is no such argument, or it has the wrong type.
        """
        client = Client(self, identifier=identifier, **options)
        self._clients.add(client)
        return client

    @property
    def dropped(self) -> int:
        """How many messages a limit or their expiry cost so far; 0 once it is stopped."""
        return self._broker.dropped if self._broker else 0

    def stats(self) -> BrokerStats:
        """Return what there is at the moment, and what was lost so far; zeros once stopped."""
        return BrokerStats(*self._broker.stats()) if self._broker else BrokerStats()

    def session(self, client_identifier: str) -> SessionStats | None:
        """Return the state of a client's session; None when there is none.

        Raises:
            TypeError: `client_identifier` is not a str.
            RuntimeError: It replays a recording, and has no sessions.
        """
        if not isinstance(client_identifier, str):
            raise wrong_type("client_identifier", "str", client_identifier)
        stats = self._broker and self._acting().session(client_identifier)
        return SessionStats(*stats) if stats else None

    def disconnect_client(
        self,
        client_identifier: str,
        reason: int | ReasonCode,
        server_reference: str | None = None,
    ) -> bool:
        """Send a client away; its will is published.

        Args:
            client_identifier: Who is to go.
            reason: The Reason Code for a client of 5.0; one of 3.x gets none.
            server_reference: Where it is to go, beside Use another server (0x9C) and Server
                moved (0x9D).

        Returns:
            Whether the client was connected.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: A server's DISCONNECT cannot have this Reason Code.
            RuntimeError: It replays a recording.

        """
        if not isinstance(client_identifier, str):
            raise wrong_type("client_identifier", "str", client_identifier)
        if not self._broker:
            return False
        code = reason.value if isinstance(reason, ReasonCode) else reason
        done = self._acting().disconnect_client(client_identifier, code, server_reference)
        if self._host:
            self._host.flush()
        return done

    def __repr__(self) -> str:
        # Not the options, which hold passwords.
        if self._listens:
            running = "running" if self._is_started() else "not running"
            return f"<{type(self).__name__} {self._url(self._host_name, self._port)}, {running}>"
        return f"<{type(self).__name__} in memory, {'ready' if self._broker else 'stopped'}>"

    async def start(self) -> None:
        """Start listening, unless it is not to listen; after a stop, start afresh.

        Sessions and retained messages from before a stop are forgotten. Those of clients that have
        used the broker in memory since are kept, and their connections go on.

        Raises:
            RuntimeError: It is started already, or serves another event loop.
            OSError: The address cannot be listened on. In memory it can be used all the same.

        """
        if self._is_started():
            raise RuntimeError("The test broker is running already: stop it first")
        if self._broker is None:
            self._broker = self._new_broker()
        host = self._host_here(self._broker)
        self._started = True
        if not self._listens:
            return
        listener = TcpListener(self._host_name, self._requested_port, None, websocket=False)
        try:
            server = await host.listen(listener)
        except BaseException:
            self._started = False
            raise
        self._port = _port_of(server, self._requested_port)

    async def listen(
        self,
        host: str = LOOPBACK,
        port: int = 0,
        *,
        tls: bool = False,
        websocket: bool = False,
        unix: str | os.PathLike[str] | None = None,
    ) -> Listening:
        """Listen on one more socket, beside memory and the sockets that there are.

        ```python
        broker = TestBroker(listen=False)
        listening = await broker.listen(tls=True, websocket=True)
        context = ssl.create_default_context(cadata=broker.ca)
        async with Client.from_url(listening.url, tls_context=context) as client:
            ...
        ```

        It ends with a stop. Works before a start too, which is not needed then.

        Args:
            host: The address to listen on.
            port: The port to listen on; 0 takes a free one.
            tls: With TLS, by a certificate that `ca` has signed for the host, `localhost`,
                127.0.0.1 and ::1.
            websocket: MQTT over WebSocket, at any path.
            unix: The path of a Unix socket instead, which must not exist. It is removed at the end.

        Returns:
            Where it is: host, port and URL.

        Raises:
            OSError: The address or the path cannot be listened on.
            RuntimeError: The broker is stopped, or serves another event loop.
            TypeError: An argument has the wrong type.
            ValueError: The port is out of its range, `unix` stands beside another argument, or no
                certificate can hold the host.

        """
        _check_address(host, port)
        for name, given in (("tls", tls), ("websocket", websocket)):
            if not isinstance(given, bool):
                raise wrong_type(name, "bool", given)
        if unix is not None and (tls or websocket or (host, port) != (LOOPBACK, 0)):
            raise ValueError(
                "unix names a socket that carries MQTT alone: leave out the other arguments"
            )
        if not isinstance(unix, str | os.PathLike | None):
            raise wrong_type("unix", "str, os.PathLike or None", unix)
        if self._broker is None:
            raise RuntimeError("The test broker is stopped: start it again, or make another")
        serving = self._host_here(self._broker)
        if unix is not None:
            path = os.fspath(unix)
            await serving.listen(UnixListener(path))
            return listening_at_path(path)
        context = server_context(self._signing(), host) if tls else None
        server = await serving.listen(TcpListener(host, port, context, websocket=websocket))
        return listening_at(host, _port_of(server, port), tls=tls, websocket=websocket)

    @property
    def ca(self) -> str:
        """The certificate that clients trust to verify this broker, in PEM form.

        That of an authority which exists for this broker alone, made when it is first asked for.
        For `ssl.create_default_context(cadata=broker.ca)`, or to be written to a file.
        """
        return self._signing().certificate

    def _signing(self) -> TestAuthority:
        if self._authority is None:
            self._authority = TestAuthority()
        return self._authority

    async def stop(self) -> None:
        """Stop listening, break every connection, and forget everything.

        Does nothing when it is stopped already. It can be started again; a recording then goes on,
        and a replay begins anew.

        Raises:
            RuntimeError: It serves another event loop, which is not closed.
            OSError: The recording could not be written to its end.

        """
        host = self._host
        if host and not host.loop.is_closed() and host.loop is not asyncio.get_running_loop():
            raise _elsewhere()
        self._host = self._broker = None
        self._started = False
        if host and not host.loop.is_closed():
            await host.stop()
        if self._recorder is not None:
            self._recorder.finish()

    def _ferromqtt_link(self, protocol: asyncio.BaseProtocol, /) -> None:
        """Connect a client in memory.

        Raises ConnectionRefusedError when the broker is stopped, and RuntimeError when it serves
        another event loop.
        """
        if self._broker is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        host = self._host_here(self._broker)
        if not self._broker.is_reachable():
            self._broker.closed(self._broker.open())  # the journal has the attempt
            host.flush()
            raise memory.BrokerDownError
        memory.link(host.loop, protocol, Connection(host))

    def _has_outgoing(self) -> bool:
        return any(
            client.stats().outgoing for client in self._clients if internals_of(client).entered
        )

    def _host_of_loop(self) -> Host:
        return self._host_here(self._core())

    def _host_here(self, broker: Broker) -> Host:
        """Return the host on the running loop."""
        loop = asyncio.get_running_loop()
        if self._host and self._host.loop is not loop:
            if not self._host.loop.is_closed():
                raise _elsewhere()
            self._host.abandon()
            self._host = None
            self._started = False  # what it listened on ended with the loop
        if self._host is None:
            self._host = Host(loop, broker)
        return self._host

    def _is_started(self) -> bool:
        """Whether it was started in a loop that is not closed."""
        return self._started and not (self._host and self._host.loop.is_closed())

    def _check_listens(self) -> None:
        if not self._listens:
            raise RuntimeError(
                "The test broker has no address of its own, since it does not listen "
                "(listen=False): give the client the broker itself, Client(broker), or that of "
                "`await broker.listen()` where a program needs an address"
            )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure = self._replay_failure()
        try:
            await self.stop()
        except OSError as unwritten:
            if error is None:
                raise
            error.add_note(f"{type(unwritten).__name__}: {unwritten}")
        if failure is not None:
            tell_replay_failure(failure, error)


def _check_address(host: str, port: int) -> None:
    if not isinstance(host, str):
        raise wrong_type("host", "str", host)
    if not isinstance(port, int) or isinstance(port, bool):
        raise wrong_type("port", "int", port)
    if not 0 <= port <= _MAX_PORT:
        raise ValueError(f"port must be in the range 0-{_MAX_PORT}, not {port}")


def _port_of(server: asyncio.Server, requested: int) -> int:
    """Return the port of a server; that which was asked for if it is closed already."""
    return server.sockets[0].getsockname()[1] if server.sockets else requested


def _elsewhere() -> RuntimeError:
    return RuntimeError(
        "The test broker serves another event loop: use it there, or stop it there first (of a "
        "fixture: the loop of the test, and not that of another fixture or of asyncio.run)"
    )
