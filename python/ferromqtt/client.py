"""The client."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, Unpack, cast

import ferromqtt  # for what is imported when somebody asks for it
from ferromqtt import _authentication, _checks, _keywords, _lazy, _shown
from ferromqtt._client_keywords import ClientKeywords, with_defaults_of
from ferromqtt._client_options import ClientOptions, memory_broker
from ferromqtt._internals import free_property
from ferromqtt._native import Message, MessagesIterator
from ferromqtt._option_values import MQTT_CLEAN_START_FIRST_ONLY, ProtocolVersion
from ferromqtt._publishing import Publishing
from ferromqtt._receiving import Receiving
from ferromqtt._responder import Responding
from ferromqtt.types import (
    MemoryBroker,
    PropertiesLike,
    ServerProfileName,
    SocketOption,
    UserProperties,
    WebSocketHeaders,
)

if TYPE_CHECKING:
    from ferromqtt.options import ProxySettings, TLSParameters, Will
else:
    __getattr__, __dir__ = _lazy.names(
        __name__,
        {
            "ProxySettings": "ferromqtt.options",
            "TLSParameters": "ferromqtt.options",
            "Will": "ferromqtt.options",
        },
    )

__all__ = [
    "Client",
    "MessagesIterator",
    "ProtocolVersion",
    "ProxySettings",
    "TLSParameters",
    "Will",
]

_DEFAULT_TIMEOUT = 10.0


@_keywords.names_unknown
class Client(Publishing, Receiving, Responding):
    """An MQTT client for asyncio.

    ```python
    async with Client("test.mosquitto.org") as client:
        await client.publish("temperature/outside", payload=28.4)
    ```

    It can be entered again after it was left, and keeps its messages and its unacknowledged
    publishes meanwhile. Any number of tasks may use it at the same time. What fails at once waits
    one turn of the event loop before it raises, so that a loop around it starves no other task.

    A subclass may use any name for its own attributes and methods: the client reads none of its
    own through `self` but `timeout`.

    Args:
        hostname: Name or address of the server. A name may have letters beyond ASCII, and a final
            dot if it is absolute; an IPv6 address may have an interface (`fe80::1%eth0`). Or a
            `ferromqtt.testing.TestBroker`, to connect to it in memory: there is no port then, and
            no TLS, proxy or WebSocket, so their options are refused.
        port: Its port.
        username: User Name to log in with.
        password: Password. Before 5.0 it is not sent without a user name.
        logger: Where warnings go; None for the logger "ferromqtt". If it is at DEBUG when the
            client is entered, each packet has a line: type, Packet Identifier, lengths, topic and
            Reason Code, and neither a payload nor what authenticates.
        identifier: Client Identifier; None lets the server choose (3.1.1, 5.0) or makes one up
            (3.1). Two clients with the same one take the server from each other: a warning says so
            when the server does, or when it has cut this client off within ten seconds three times
            in a row. That is counted from enter to enter, so a loop that makes a new client each
            time is not warned.
        queue_type: A class of queue for received messages, used through `put_nowait` and `get`;
            None for the fast one of the core.
        protocol: Version of MQTT, or its number: 3 (3.1), 4 (3.1.1) or 5 (5.0). None for 3.1.1.
            "auto" for 5.0 with each server that speaks it, and 3.1.1 with the others: one that
            refuses 5.0, or closes the connection instead of answering, is tried again at once in
            3.1.1, which is no failed attempt, and what it speaks is remembered. `clean_start` then
            holds for both, and what only 5.0 has is left out in 3.1.1: properties of CONNECT and of
            the will, and those of calls, which one warning tells. A password then needs a user
            name, and an Authentication Method is refused. See docs/protocol-versions.md.
        will: The message that the server publishes when it loses the client.
        clean_session: (before 5.0) False keeps the session at the server; needs an identifier.
        transport: "tcp", "websockets", or "unix" with the socket's path as `hostname`.
        timeout: Seconds that entering and leaving may take, and each call that is given none. None
            for 10, `math.inf` for no limit.
        keepalive: Keep Alive in seconds; 0 turns it off. A connection that falls silent ends after
            at most one and a half times this. A slow one that moves does not: a large message
            counts while the server's TCP acknowledges it (on Linux; elsewhere, while the socket
            takes it), or while it gains 1 KiB per half Keep Alive on its way to the client.
        bind_address: Local address to connect from.
        bind_port: Local port to connect from. It can be used again at once after a connection.
        clean_start: (5.0) True and 3 start with a fresh session each time, False resumes.
        max_queued_incoming_messages: How many received messages may wait to be taken; a further one
            is dropped with a warning, for the first one and whenever their number has doubled; the
            total follows when the connection ends. None, 0 or less: no limit, as in aiomqtt: the
            queue grows for as long as messages come faster than they are taken. Then a warning is
            logged when it holds 100,000 messages. With a limit or without, one is logged when its
            messages take 1 GiB of memory. Each comes once for a connection; with a `queue_type`
            neither does, since its class decides what it takes.
        max_queued_outgoing_messages: How many QoS 1 and 2 publishes may be unfinished. None or 0:
            no limit, as in aiomqtt.
        max_inflight_messages: How many QoS 1 and 2 publishes may be unacknowledged at once; others
            wait. None for 20, 0 for no limit but the server's.
        max_concurrent_outgoing_calls: How many calls may run at once; others wait. None: no limit.
        properties: (5.0) CONNECT properties: `Properties`, or a dict such as
            `{"SessionExpiryInterval": 60}`.
        tls_context: Connect with TLS by this context. One that overrides `wrap_socket` alone is
            refused on enter: asyncio uses `wrap_bio`.
        tls_params: Connect with TLS by a context made of these, for which the files are read again
            on each enter, in a thread.
        tls_insecure: Whether not to check the server's name.
        proxy: A SOCKS or HTTP proxy to connect through. None: the one that the environment names in
            `mqtt_proxy`, if it does, and not for hosts in `no_proxy`. That is a URL with one of the
            schemes http, socks5h, socks5, socks4a and socks4; user name and password in it are
            percent-encoded.
        socket_options: Arguments for `socket.setsockopt`, set before binding and connecting; not
            used with WebSocket.
        websocket_path: Path of the opening request, which may have a query; None for "/mqtt".
        websocket_headers: Headers of the opening request, over the usual ones, or a function that
            is given those and returns all. Not used without a `websocket_path`, as in aiomqtt: a
            warning is logged then.
        will_on_error: Whether the server is to publish the will when the block is left by an
            exception. An addition to aiomqtt's parameters.
        authenticator: (5.0) Called with the Authentication Data of each AUTH packet of the server.
            Returns the data to answer with, or is a coroutine function that does, which runs as a
            task and is cancelled when the connection ends. This is enhanced authentication, by the
            method that `properties` name. An object that also has a method `begin` (or a coroutine
            of that name) begins each exchange: that returns the Authentication Data of CONNECT, and
            of `re_authenticate`, or None. An addition to aiomqtt's parameters.
        strict: Whether every rule of MQTT that the server breaks ends the connection. By default
            slips of real servers are tolerated that lose, duplicate and misroute nothing, with one
            warning for each kind on each connection: more messages at once than the Receive Maximum
            allows, Session Present after a clean session before 5.0, undefined codes, and what
            else docs/tolerance.md lists. An addition to aiomqtt's parameters.
        maximum_non_publish_size: How many bytes a packet other than PUBLISH may have from the
            server, such as CONNACK, SUBACK and DISCONNECT. A larger one ends the connection before
            it is read; on 5.0 the server is told Quota exceeded. Such packets carry no message, so
            this bounds what a stranger can have the client hold. By default 1 MiB. An addition to
            aiomqtt's parameters.
        tls_server_hostname: The name to ask the server for (SNI) and to find in its certificate,
            when it is not `hostname`: behind a tunnel, for a server that is reached by its address,
            over a Unix socket. Needs TLS. An addition to aiomqtt's parameters.
        reconnect: Whether the client connects again by itself when its connection is lost: True, or
            a `Reconnect` that says how. Then iterators go on at a loss and `publish`, `subscribe`
            and `unsubscribe` wait for the next connection, for as long as their `timeout` says;
            subscriptions are made again, and QoS 1 and 2 publishes that are not acknowledged are
            sent again. On 5.0 the server is asked to keep the session for an hour meanwhile, unless
            `properties` say how long. What trying again cannot mend ends it, such as a wrong
            password: then iterators and calls raise. `timeout` is for each attempt. An addition to
            aiomqtt's parameters.
        servers: Further servers, to be tried in turn after `hostname`: "host", "host:port",
            (host, port), a URL as of `from_url` with the scheme of the client and without
            credentials, or (with a test broker as `hostname`) test brokers. The next one is tried
            at once when an attempt has failed, or the connection is lost; all have the same other
            options. A refusal by one of them that trying again cannot mend, such as Not authorized,
            ends it for all. An addition to aiomqtt's parameters.
        credentials: Called before each attempt to connect with the `Server` and the number of the
            attempt, 0 for the first one after a connection that lasted. Returns `Credentials`, or a
            pair of user name and password, or is a coroutine function that does. With
            `reconnect`, a refusal of old credentials is then tried again with new ones, and an
            error of this function like a failure of the network. An addition to aiomqtt's
            parameters.
        manual_ack: Whether the program acknowledges the QoS 1 and 2 messages of `messages`, each by
            `message.ack()` or `message.reject()`, in place of the client on receipt; and those of
            each `subscription` that is not given `ack`. The server
            sends only so many messages that are not acknowledged, and the rest when they are. One
            that is not acknowledged when the connection ends comes again, if the server keeps the
            session. docs/acknowledging.md says more. An addition to aiomqtt's parameters.
        session_expiry_interval: (5.0) Seconds for which the server keeps the session after the
            connection: 0, the default, ends it with that, 4,294,967,295 is forever. This and the
            following are properties of CONNECT as plain keywords, beside `properties`, which must
            not have the same one: docs/mqtt5.md. Before 5.0 they are refused. Additions to
            aiomqtt's parameters.
        receive_maximum: (5.0) How many QoS 1 and 2 messages the server may send at once before they
            are acknowledged, from 1 to 65,535, which is the default.
        maximum_packet_size: (5.0) The largest packet that the client takes, in bytes. By default
            there is no limit but MQTT's.
        topic_alias_maximum: (5.0) How many Topic Aliases the server may use. By default none.
        request_response_information: (5.0) Whether the server is asked for the beginning of topics
            for responses, which is `connack.response_information` then.
        request_problem_information: (5.0) False asks the server for no Reason Strings and User
            Properties in packets that carry no message.
        user_properties: (5.0) Pairs of texts for the server: a dict, or an iterable of pairs.
        authentication_method: (5.0) The method of enhanced authentication: see `authenticator`.
        authentication_data: (5.0) The first data of that method, as bytes.
        session_expiry_at_disconnect: (5.0) How many seconds the server is to keep the session once
            the client has left its block, in place of the SessionExpiryInterval in `properties`,
            which then is for connections that are lost: 0 ends it, 0xFFFFFFFF keeps it forever.
            Above 0 it needs a SessionExpiryInterval above 0, by the standard. An addition to
            aiomqtt's parameters.
        topic_aliases: (5.0) Whether the client assigns Topic Aliases by itself, as far as the
            server's Topic Alias Maximum goes: a topic that was published to lately is left out of
            the packet. True for up to 100, or how many. Each takes memory for its topic. An
            addition to aiomqtt's parameters.
        outgoing_queue: The bounds of the queue that `enqueue` and `publish_nowait` accept messages
            into, and what happens when it is full: an `OutgoingQueue`. None for 10,000 messages and
            64 MiB, for which `enqueue` waits. An addition to aiomqtt's parameters.
        outbox: An `Outbox`: a folder in which the messages that `enqueue` and `publish_nowait`
            accept, and the session, outlive the program. It takes the place of an `outgoing_queue`.
            The session is resumed unless `clean_session` or `clean_start` is True; on 5.0 the
            Session Expiry Interval is at least the `max_age` of the outbox, unless it is given; an
            `identifier` is made once, and kept there, if none is given. With `reconnect`, entering
            the client waits for the outbox and not for the server, which it goes on trying. See
            docs/outbox.md. An addition to aiomqtt's parameters.
        profile: The service or server that is connected to, by name: "aws-iot", "azure-event-grid",
            "azure-iot-hub", "hivemq-cloud", "emqx-cloud", "rabbitmq", "nats" or "mosquitto-2.0".
            It has limits that are known and that it does not announce: what it does not take is
            refused before anything is sent, and a SUBSCRIBE with more filters than it takes is
            sent as several. TLS is spoken where it needs that, by the certificates of the system
            unless `tls_params` or `tls_context` says otherwise. A `port` other than 1883 is kept;
            otherwise it is the usual one of the service. Arguments that contradict it are refused.
            `ferromqtt.profiles` lists all figures, docs/server-profiles.md says more. An addition
            to aiomqtt's parameters.
        record: A file to record the packets of each connection to, both ways, below TLS and
            WebSocket. It is made, or emptied, when the client is first entered, and written as the
            packets go by, which takes the event loop's time. User Name, Password and Authentication
            Data are masked. When it cannot be written any more, a warning is logged, and the client
            goes on. `ferromqtt.testing` compares recordings and replays them, see
            docs/recordings.md. An addition to aiomqtt's parameters.
        record_payloads: Whether payloads, Correlation Data and User Properties are recorded, and
            not their lengths and hashes alone. An addition to aiomqtt's parameters.

    Attributes:
        timeout: As the parameter; may be changed at any time.

    Raises:
        ValueError: An argument is wrong. Some are looked at only when the client is entered.
        TypeError: An argument has the wrong type.
    """

    def __init__(
        self,
        hostname: str | MemoryBroker,
        port: int = 1883,
        *,
        username: str | None = None,
        password: str | bytes | None = None,
        logger: logging.Logger | None = None,
        identifier: str | None = None,
        queue_type: type[asyncio.Queue[Message]] | None = None,
        protocol: ProtocolVersion | Literal[3, 4, 5, "auto"] | None = None,
        will: ferromqtt.Will | None = None,
        clean_session: bool | None = None,
        transport: Literal["tcp", "websockets", "unix"] = "tcp",
        timeout: float | None = None,
        keepalive: int = 60,
        bind_address: str = "",
        bind_port: int = 0,
        clean_start: bool | Literal[3] = MQTT_CLEAN_START_FIRST_ONLY,
        max_queued_incoming_messages: int | None = None,
        max_queued_outgoing_messages: int | None = None,
        max_inflight_messages: int | None = None,
        max_concurrent_outgoing_calls: int | None = None,
        properties: PropertiesLike | None = None,
        tls_context: ssl.SSLContext | None = None,
        tls_params: ferromqtt.TLSParameters | None = None,
        tls_insecure: bool | None = None,
        proxy: ferromqtt.ProxySettings | None = None,
        socket_options: Iterable[SocketOption] | None = None,
        websocket_path: str | None = None,
        websocket_headers: WebSocketHeaders | None = None,
        will_on_error: bool = False,
        authenticator: Callable[[bytes], bytes | Awaitable[bytes]] | None = None,
        strict: bool = False,
        maximum_non_publish_size: int = 1 << 20,
        tls_server_hostname: str | None = None,
        reconnect: bool | ferromqtt.Reconnect = False,
        servers: Iterable[ferromqtt.connection.ServerLike] | None = None,
        credentials: ferromqtt.connection.CredentialsSource | None = None,
        manual_ack: bool = False,
        session_expiry_interval: int | None = None,
        receive_maximum: int | None = None,
        maximum_packet_size: int | None = None,
        topic_alias_maximum: int | None = None,
        request_response_information: bool | None = None,
        request_problem_information: bool | None = None,
        user_properties: UserProperties | None = None,
        authentication_method: str | None = None,
        authentication_data: bytes | None = None,
        session_expiry_at_disconnect: int | None = None,
        topic_aliases: bool | int = False,
        outgoing_queue: ferromqtt.OutgoingQueue | None = None,
        outbox: ferromqtt.Outbox | None = None,
        profile: ServerProfileName | None = None,
        record: str | os.PathLike[str] | None = None,
        record_payloads: bool = False,
    ) -> None:
        broker = memory_broker(hostname)
        options = ClientOptions(
            hostname=cast("str", hostname) if broker is None else "",
            broker=broker,
            port=port,
            username=username,
            password=password,
            identifier=identifier,
            protocol=protocol,
            will=will,
            clean_session=clean_session,
            transport=transport,
            keepalive=keepalive,
            bind_address=bind_address,
            bind_port=bind_port,
            clean_start=clean_start,
            max_queued_incoming_messages=max_queued_incoming_messages,
            max_queued_outgoing_messages=max_queued_outgoing_messages,
            max_inflight_messages=max_inflight_messages,
            properties=properties,
            tls_context=tls_context,
            tls_params=tls_params,
            tls_insecure=tls_insecure,
            proxy=proxy,
            socket_options=socket_options,
            websocket_path=websocket_path,
            websocket_headers=websocket_headers,
            strict=strict,
            maximum_non_publish_size=maximum_non_publish_size,
            tls_server_hostname=tls_server_hostname,
            reconnect=reconnect,
            servers=servers,
            keywords={
                "session_expiry_interval": session_expiry_interval,
                "receive_maximum": receive_maximum,
                "maximum_packet_size": maximum_packet_size,
                "topic_alias_maximum": topic_alias_maximum,
                "request_response_information": request_response_information,
                "request_problem_information": request_problem_information,
                "user_properties": user_properties,
                "authentication_method": authentication_method,
                "authentication_data": authentication_data,
            },
            session_expiry_at_disconnect=session_expiry_at_disconnect,
            topic_aliases=topic_aliases,
            outgoing_queue=outgoing_queue,
            outbox=outbox,
            profile=profile,
            record=record,
            record_payloads=record_payloads,
        )
        _checks.check_arguments(
            logger=logger,
            queue_type=queue_type,
            timeout=timeout,
            max_concurrent_outgoing_calls=max_concurrent_outgoing_calls,
            will_on_error=will_on_error,
            authenticator=authenticator,
            credentials=credentials,
            manual_ack=manual_ack,
        )
        self._FerromqttInternalsHolder__internals = internals = (
            self._FerromqttInternalsHolder__internals_class(
                options,
                logger=logger,
                queue_type=queue_type,
                max_outgoing_calls=max_concurrent_outgoing_calls,
                will_on_error=will_on_error,
                authenticator=authenticator,
                credentials=credentials,
                manual_ack=manual_ack,
            )
        )
        self.timeout = _DEFAULT_TIMEOUT if timeout is None else timeout
        # Assigned here as in aiomqtt: a subclass may have a property of that name.
        self.pending_calls_threshold = internals.core.pending_calls_threshold
        internals.attach(self)

    @classmethod
    @with_defaults_of(__init__)
    def from_url(cls, url: str, **options: Unpack[ClientKeywords]) -> Self:
        """Make a client for the server that a URL names, such as one of an environment variable.

        ```python
        async with Client.from_url("mqtts://user:secret@host:8883?client_id=station-7") as client:
            ...
        ```

        docs/urls.md has a table of the schemes, their ports, and the keys of the query.

        Args:
            url: Begins with mqtt://, mqtts://, ws://, wss:// or mqtt+unix://; none stands for
                mqtt://. User name, password and the values of the query are percent-encoded. No
                error, `repr` and line of the log shows the password.
            options: Any other argument of `Client`, by its name, except `hostname`, `port` and
                `transport`. `mqtts` and `wss` connect with TLS, by the certificates of the system
                unless `tls_context` or `tls_params` says otherwise. A subclass gets them all by its
                own constructor.

        Raises:
            ValueError: The URL cannot be read, an argument says what it says already (`hostname`,
                `port` and `transport` among them), or another argument is wrong. Nothing of the URL
                but its scheme is shown.
            TypeError: An argument has the wrong type, or there is none of that name.
        """
        from ferromqtt._url import arguments_of  # noqa: PLC0415 - many programs have none

        hostname, arguments = arguments_of(url, options)
        return cls(hostname, **arguments)

    def __repr__(self) -> str:
        internals = getattr(self, "_FerromqttInternalsHolder__internals", None)
        if internals is None:
            return object.__repr__(self)  # an argument was wrong
        return f"<{_shown.client(type(self).__name__, internals)}>"

    @property
    def identifier(self) -> str:
        """The Client Identifier that was given or made up; not one that the server assigned."""
        return self._FerromqttInternalsHolder__internals.options.identifier or ""

    def protocol(self) -> ProtocolVersion:
        """Return the version of MQTT in use: that of the connection, or of the last attempt.

        With `protocol="auto"` it depends on the server, and is 5.0 before the first attempt.
        """
        return self._FerromqttInternalsHolder__internals.version

    def state(self) -> ferromqtt.ClientState:
        """Return where the client stands: whether there is a connection, and whether one comes."""
        return ferromqtt.ClientState(self._FerromqttInternalsHolder__internals.core.state)

    @free_property
    def connack(self) -> ferromqtt.ConnectResult | None:
        """What the CONNACK of the latest connection has settled; None before the first one.

        Whether the session was resumed, the Client Identifier, what the server allows: each value
        is the one that holds, also where the server said nothing. It stays there when the
        connection has ended, and with each further connection there is another one.
        """
        from ferromqtt.connection import connect_result  # noqa: PLC0415 - many programs need none

        return connect_result(self._FerromqttInternalsHolder__internals.core.connack)

    def stats(self) -> ferromqtt.Stats:
        """Return what the client has counted, over all its connections."""
        from ferromqtt.stats import of_counters  # noqa: PLC0415 - many programs need none

        return of_counters(self._FerromqttInternalsHolder__internals.core.stats())

    def outbox_stats(self) -> ferromqtt.OutboxStats | None:
        """Return what the `Outbox` holds, in figures; None without one, and before the first enter.

        After the client was left the figures stay as they were then.
        """
        from ferromqtt.outbox import OutboxStats  # noqa: PLC0415 - many programs need none

        figures = self._FerromqttInternalsHolder__internals.core.outbox_stats()
        return None if figures is None else OutboxStats(**figures)

    async def drain(self, timeout: float | None = None) -> ferromqtt.Drained:
        """End the connection gracefully, and return what was left undone.

        Accepts no more messages, waits until every call that was accepted has its outcome, then
        disconnects. A lost connection is made again meanwhile (with `reconnect`), and messages are
        received. For the end of a program's work inside the block, since leaving the block waits
        only for calls that a task still awaits, and tells nothing of them:

        ```python
        drained = await client.drain(timeout=5)
        if not drained.is_complete:
            print(f"{drained.not_sent} not sent, {drained.unknown} unknown")
        ```

        The connection has ended then: a publish raises `MqttError`, iterators raise once the queue
        is empty, and the block is left without waiting. The client can be entered again.

        Cancelled, it disconnects at once, in the background.

        Args:
            timeout: Seconds for all of it; None for the client's `timeout`, `math.inf` for no
                limit. Calls that have no outcome by then raise, and are counted.

        Raises:
            MqttCodeError: The client is not entered, or its connection has ended.
            ValueError: `timeout` is negative or NaN.
            TypeError: `timeout` is no number.
        """
        time_limit = self.timeout if timeout is None else timeout
        return await self._FerromqttInternalsHolder__internals.drain(time_limit)

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until there is a connection.

        On a client that is not entered it waits until a task enters it, and one warning is logged.

        Args:
            timeout: Seconds to wait. None for no limit, unlike in the calls that send something.

        Raises:
            MqttCodeError: The connection has ended, and none follows; its `__cause__` says why.
            MqttTimeoutError: There was no connection in time.
        """
        if timeout is not None:
            _checks.check_timeout(timeout)
        await self._FerromqttInternalsHolder__internals.core.wait_connected(timeout)

    def events(self) -> ferromqtt.events.Events:
        """Return a new iterator over what happens to the connection: see `ferromqtt.events`.

        ```python
        async for event in client.events():
            match event:
                case Disconnected(cause=cause, retry_in=seconds) if seconds is not None:
                    print(f"lost ({cause}), next attempt in {seconds:.1f} s")
        ```
        """
        from ferromqtt.events import Events  # noqa: PLC0415 - many programs need none

        return Events(self._FerromqttInternalsHolder__internals.core)

    @property
    def pending_calls_threshold(self) -> int:
        """How many calls may wait for the server before a warning is logged. Default: 10.

        A second warning comes when their number has doubled, and so on; they start again once no
        more calls wait than this. Setting it raises TypeError for what is no whole number, and
        ValueError for one below 0 or above `sys.maxsize`.
        """
        return self._FerromqttInternalsHolder__internals.core.pending_calls_threshold

    @pending_calls_threshold.setter
    def pending_calls_threshold(self, threshold: int) -> None:
        _checks.check_threshold(threshold)
        # Not by `__dict__`, which makes CPython look up each attribute more slowly from then on.
        internals = getattr(self, "_FerromqttInternalsHolder__internals", None)
        if internals is not None:  # before `__init__` it makes no difference
            internals.core.pending_calls_threshold = threshold

    async def re_authenticate(self, *, timeout: float | None = None) -> None:
        """Authenticate again (5.0, section 4.12.1) on the present connection.

        Returns when the server has accepted it. The exchange begins with what `begin` of the
        `authenticator` returns, if it has that, and the `authenticator` answers the server. When
        one side does not accept the other, the connection ends. When cancelled, or when its time is
        over, the exchange goes on.

        Args:
            timeout: Seconds to wait; None for the client's `timeout`, `math.inf` for no limit.

        Raises:
            ValueError: The client has no `authenticator`, or no Authentication Method.
            MqttCodeError: The client is not connected.
            MqttError: An exchange is under way already, the `authenticator` could not begin, or the
                connection ended.
            MqttTimeoutError: The server has not accepted it in time.
        """
        time_limit = self.timeout if timeout is None else timeout
        core = self._FerromqttInternalsHolder__internals.core
        await _authentication.re_authenticate(core, time_limit)

    async def __aenter__(self) -> Self:
        """Connect.

        With `Reconnect(initial=True)` it tries until a server accepts the connection, or refuses it
        for a reason that trying again cannot mend. Cancelling it gives up.

        Raises:
            MqttReentrantError: The client is entered already.
            ValueError: An option is wrong, or a certificate file cannot be used.
            MqttConnectError: The server refused the connection; `rc` tells why.
            MqttError: There was no connection, or not in time; `phase` and `address` tell what
                failed. The client can be entered again.
        """
        await self._FerromqttInternalsHolder__internals.enter(self.timeout)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect. Quiet when the connection has ended already, or is being made again.

        After a block that has ended well, calls that were accepted, and that a task still waits
        for, have the client's `timeout` to get their outcomes; new calls are refused, and received
        messages are not waited for. Writing DISCONNECT, and closing, may take a second more each.
        After an exception nothing is waited for. Then everything is
        written, with DISCONNECT last. What the server still sends is thrown away until it closes
        its side or has been silent for a second, so that nothing of that is lost.

        Cancelling it ends the wait for calls, and leaves a second for the rest; cancelling it
        again, or after an exception, cuts the connection.

        Raises:
            MqttError: Not everything could be written, in time or before the connection was lost,
                so the server publishes the will. The client can be entered again.
        """
        failed = exc_type is not None
        await self._FerromqttInternalsHolder__internals.leave(self.timeout, failed=failed)
