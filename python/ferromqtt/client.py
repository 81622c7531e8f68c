"""The client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ferromqtt import _transport
from ferromqtt._driver import Protocol
from ferromqtt._native import MessagesIterator
from ferromqtt._queue import MessageQueue, QueuedMessages
from ferromqtt._slots import CallSlots
from ferromqtt._transport.tls import TLSContext
from ferromqtt.exceptions import MqttError, MqttReentrantError, MqttTimeoutError
from ferromqtt.options import (
    MQTT_CLEAN_START_FIRST_ONLY,
    ClientOptions,
    ProtocolVersion,
    ProxySettings,
    TLSParameters,
    Will,
    check_enter,
    subscribe_filters,
    unsubscribe_filters,
)
from ferromqtt.properties import to_native
from ferromqtt.reasons import PacketTypes, ReasonCode

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Literal

    from ferromqtt._native import Message
    from ferromqtt.types import (
        PayloadType,
        PropertiesLike,
        SocketOption,
        SubscribeOptionsLike,
        SubscribeTopic,
        WebSocketHeaders,
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
_DEFAULT_INFLIGHT = 20
# As many are in flight where there is no limit.
_PACKET_IDENTIFIERS = 65_535
_CLEAN_START: dict[bool | int, int] = {False: 0, True: 1, MQTT_CLEAN_START_FIRST_ONLY: 2}
"""The core's numbers: never, always, at the first connection."""


class Client:
    """An MQTT client for asyncio.

    ```python
    async with Client("test.mosquitto.org") as client:
        await client.publish("temperature/outside", payload=28.4)
    ```

    It can be entered again after it was left, and keeps its messages and its unacknowledged
    publishes meanwhile. Any number of tasks may use it at the same time.

    Args:
        hostname: Name or address of the server. A name may have letters beyond ASCII, and a final
            dot if it is absolute; an IPv6 address may have an interface (`fe80::1%eth0`).
        port: Its port.
        username: User Name to log in with.
        password: Password; not used without a user name.
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
        protocol: Version of MQTT; None for 3.1.1.
        will: The message that the server publishes when it loses the client.
        clean_session: (before 5.0) False keeps the session at the server; needs an identifier.
        transport: "tcp", "websockets", or "unix" with the socket's path as `hostname`.
        timeout: Seconds that entering, leaving and each call may take, unless told otherwise; None
            for 10, `math.inf` for ever.
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
        properties: (5.0) CONNECT properties.
        tls_context: Connect with TLS by this context. One that overrides `wrap_socket` alone is
            refused on enter: asyncio uses `wrap_bio`.
        tls_params: Connect with TLS by a context made of these, for which the files are read again
            on each enter, in a thread.
        tls_insecure: Whether not to check the server's name.
        proxy: A SOCKS or HTTP proxy to connect through. None: the HTTP proxy that the environment
            names in `mqtt_proxy`, if it does, and not for hosts in `no_proxy`. User name and
            password in that URL are percent-encoded.
        socket_options: Arguments for `socket.setsockopt`, set before binding and connecting; not
            used with WebSocket.
        websocket_path: Path of the opening request, which may have a query; None for "/mqtt".
        websocket_headers: Headers of the opening request, over the usual ones, or a function that
            is given those and returns all. Not used without a `websocket_path`.
        will_on_error: Whether the server is to publish the will when the block is left by an
            exception. An addition to aiomqtt's parameters.
        authenticator: (5.0) Is called with the Authentication Data of each AUTH packet of the
            server, and returns the data to answer with: enhanced authentication, by the method that
            `properties` name. An addition to aiomqtt's parameters.
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

    Attributes:
        timeout: As the parameter; may be changed at any time.

    Raises:
        ValueError: An argument is wrong. Some are looked at only when the client is entered.
    """

    _default_logger_name: ClassVar[str] = "ferromqtt"
    _pending_calls_text: ClassVar[str | None] = None

    def __init__(
        self,
        hostname: str,
        port: int = 1883,
        *,
        username: str | None = None,
        password: str | bytes | None = None,
        logger: logging.Logger | None = None,
        identifier: str | None = None,
        queue_type: type[asyncio.Queue[Message]] | None = None,
        protocol: ProtocolVersion | None = None,
        will: Will | None = None,
        clean_session: bool | None = None,
        transport: str = "tcp",
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
        tls_params: TLSParameters | None = None,
        tls_insecure: bool | None = None,
        proxy: ProxySettings | None = None,
        socket_options: Iterable[SocketOption] | None = None,
        websocket_path: str | None = None,
        websocket_headers: WebSocketHeaders | None = None,
        will_on_error: bool = False,
        authenticator: Callable[[bytes], bytes] | None = None,
        strict: bool = False,
        maximum_non_publish_size: int = 1 << 20,
        tls_server_hostname: str | None = None,
    ) -> None:
        self._options = options = ClientOptions(
            hostname=hostname,
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
        )
        self._tls = TLSContext(options)
        self.timeout = _DEFAULT_TIMEOUT if timeout is None else timeout
        self._will_on_error = will_on_error
        self._logger = logger or logging.getLogger(self._default_logger_name)
        self._core = Protocol(int.from_bytes(os.urandom(8)))
        self._core.logger = self._logger
        self._core.server = options.address
        self._core.pending_calls_text = self._pending_calls_text
        self._core.authenticator = authenticator
        self._publish = self._core.publish
        self._entered = False
        self._was_entered = False
        self._max_outgoing_calls = max_concurrent_outgoing_calls
        if max_concurrent_outgoing_calls is not None:
            self._core.max_calls = max(max_concurrent_outgoing_calls, 0)
        self._outgoing_calls = self._make_outgoing_calls()
        self._queue: MessageQueue | None = None
        if queue_type is not None:
            self._use_queue(queue_type)

    @property
    def identifier(self) -> str:
        """The Client Identifier that was given or made up; not one that the server assigned."""
        return self._options.identifier or ""

    @property
    def messages(self) -> MessagesIterator | QueuedMessages:
        """A new iterator over the received messages, each of which goes to one iterator.

        `len()` is the number of queued messages. The queue has no limit unless
        `max_queued_incoming_messages` sets one. Iterating raises `MqttError` once the queue is
        empty and the connection has ended. A cancelled step loses no message.
        """
        if self._queue is not None:
            return QueuedMessages(self._queue)
        return self._core.messages()

    @property
    def pending_calls_threshold(self) -> int:
        """How many calls may wait for the server before a warning is logged. Default: 10.

        A second warning comes when their number has doubled, and so on; they start again once no
        more calls wait than this.
        """
        return self._core.pending_calls_threshold

    @pending_calls_threshold.setter
    def pending_calls_threshold(self, threshold: int) -> None:
        self._core.pending_calls_threshold = threshold

    async def publish(
        self,
        topic: str,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Publish a message.

        Returns at QoS 0 when the message is on its way to the socket, at QoS 1 and 2 when the
        server has acknowledged it. When cancelled, a message that is not on the wire yet is
        dropped; one that is stays in the session.

        Args:
            topic: The topic to publish to.
            payload: str is sent as UTF-8, int and float as text, None as nothing.
            qos: 0, 1 or 2.
            retain: Whether the server is to keep it for later subscribers.
            properties: (5.0) PUBLISH properties.
            timeout: Seconds to wait; None for the client's `timeout`, `math.inf` for ever.

        Raises:
            ValueError: The topic, QoS or a property is wrong. Nothing was sent.
            TypeError: The topic or payload is of a type that cannot be sent. Nothing was sent.
            MqttCodeError: The client is not connected, its queue is full, a limit of the server
                forbids it (nothing was sent), or the server refused it.
            MqttError: The connection ended or time ran out; `delivery` tells whether the server may
                have got it.
        """
        if self._outgoing_calls is not None:
            async with self._outgoing_calls:
                waiter = self._start_publish(topic, payload, qos, retain, properties, timeout)
                if waiter is not None:
                    await self._wait(waiter)
            return
        # The fast path, written out: a call costs as much as the message.
        waiter = self._publish(
            topic,
            payload,
            qos,
            retain,
            None if properties is None else self._native(properties, PacketTypes.PUBLISH),
            self.timeout if timeout is None else timeout,
        )
        if waiter is not None:
            op = self._core.last_op
            try:
                await waiter
            except (asyncio.CancelledError, GeneratorExit):
                self._core.abandon(op)
                raise

    async def subscribe(
        self,
        topic: SubscribeTopic,
        qos: int = 0,
        options: SubscribeOptionsLike | None = None,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> list[ReasonCode]:
        """Subscribe to one or more filters.

        Args:
            topic: A filter, a pair of filter and QoS (or options, on 5.0), or a list of pairs.
            qos: The QoS for a single filter.
            options: (5.0) `SubscribeOptions` for a single filter, instead of `qos`.
            properties: (5.0) SUBSCRIBE properties.
            timeout: Seconds to wait; None for the client's `timeout`, `math.inf` for ever.

        Returns:
            A Reason Code for each filter. A filter that the server refuses does not raise: look at
            `is_failure`.

        Raises:
            ValueError: An argument is wrong. Nothing was sent.
            MqttCodeError: The client is not connected, or a limit of the server forbids it.
            MqttError: The connection ended or time ran out.
        """
        filters = subscribe_filters(topic, qos, options, self._version)
        native = self._native(properties, PacketTypes.SUBSCRIBE)
        async with self._outgoing_calls or contextlib.nullcontext():
            waiter = self._core.subscribe(filters, native, self._time_limit(timeout))
            codes = await self._wait(waiter)
        return [ReasonCode(PacketTypes.SUBACK, identifier=code) for code in codes]

    async def unsubscribe(
        self,
        topic: str | list[str],
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Unsubscribe from one filter or several.

        Args:
            topic: A filter or a list of filters.
            properties: (5.0) UNSUBSCRIBE properties.
            timeout: Seconds to wait; None for the client's `timeout`, `math.inf` for ever.

        Raises:
            ValueError: An argument is wrong. Nothing was sent.
            MqttCodeError: The client is not connected.
            MqttError: The connection ended or time ran out.
        """
        filters = unsubscribe_filters(topic)
        native = self._native(properties, PacketTypes.UNSUBSCRIBE)
        async with self._outgoing_calls or contextlib.nullcontext():
            await self._wait(self._core.unsubscribe(filters, native, self._time_limit(timeout)))

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            MqttReentrantError: The client is entered already.
            ValueError: An option is wrong.
            MqttConnectError: The server refused the connection; `rc` tells why.
            MqttError: There was no connection, or not in time. The client can be entered again.
        """
        if self._entered:
            raise MqttReentrantError("The client context manager is reusable, but not reentrant")
        self._entered = True
        try:
            check_enter(self._options)
            # One for each loop: it belongs to the one in which calls first wait.
            self._outgoing_calls = self._make_outgoing_calls()
            if not self._was_entered:
                self._core.configure(**self._core_options())
                self._was_entered = True
            await self._connect()
        except BaseException:
            self._entered = False
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect. Quiet when the connection has ended already.

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
        if not self._was_entered:
            self._logger.warning("Could not gracefully disconnect: %d. Forcing disconnection.", 4)
            return
        publish_will = self._will_on_error and exc_type is not None
        try:
            await self._core.stop(self.timeout, publish_will=publish_will, wait=exc_type is None)
        finally:
            self._entered = False
            if self._outgoing_calls is not None and self._outgoing_calls.is_left:
                self._outgoing_calls = self._make_outgoing_calls()

    async def _connect(self) -> None:
        """Open a transport and wait for CONNACK, all within the client's time limit."""
        limit = None if self.timeout == math.inf else self.timeout
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                await self._core.start()
                await _transport.open_transport(self._options, self._tls, self._core)
                await self._core.accepted()
        except BaseException as error:
            await self._core.cancel_start()
            if isinstance(error, TimeoutError) and scope.expired():
                raise MqttTimeoutError from None
            if isinstance(error, OSError | UnicodeError):
                raise MqttError(str(error)) from None
            raise

    def _start_publish(
        self,
        topic: str,
        payload: PayloadType,
        qos: int,
        retain: bool,
        properties: PropertiesLike | None,
        timeout: float | None,
    ) -> Any:  # noqa: ANN401 - something to await
        native = self._native(properties, PacketTypes.PUBLISH)
        return self._publish(topic, payload, qos, retain, native, self._time_limit(timeout))

    async def _wait(self, waiter: Any) -> Any:  # noqa: ANN401 - any call's future
        """Wait for a call that was just accepted; let the core know when nobody waits any more."""
        op = self._core.last_op
        try:
            return await waiter
        except (asyncio.CancelledError, GeneratorExit):
            self._core.abandon(op)
            raise

    @property
    def _version(self) -> ProtocolVersion:
        return self._options.protocol or ProtocolVersion.V311

    def _time_limit(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

    def _native(
        self, properties: PropertiesLike | None, packet_type: int
    ) -> dict[str, object] | None:
        """Properties as the core takes them; before 5.0 they are not used."""
        if self._version != ProtocolVersion.V5:
            return None
        native = to_native(properties, packet_type)
        if native is not None:
            native.pop("topic_alias", None)  # the core assigns its own, and always knows the topic
        return native

    def _use_queue(self, queue_type: type[asyncio.Queue[Message]]) -> None:
        limit = max(self._options.max_queued_incoming_messages or 0, 0)
        core = self._core
        self._queue = MessageQueue(
            queue_type(maxsize=limit), core.iteration_end, core.warn_of_repeating, core.report
        )
        core.message_sink = self._queue.put
        core.on_begin = self._queue.begin
        core.on_end = self._queue.wake_all

    def _make_outgoing_calls(self) -> CallSlots | None:
        limit = self._max_outgoing_calls
        return None if limit is None else CallSlots(limit)

    def _core_options(self) -> dict[str, object]:
        options = self._options
        will = options.will
        inflight = options.max_inflight_messages
        if inflight is None:
            inflight = _DEFAULT_INFLIGHT
        incoming = options.max_queued_incoming_messages
        return {
            "protocol": int(self._version),
            "client_identifier": self.identifier,
            "clean_start": _CLEAN_START[options.clean],
            "keep_alive": options.keepalive,
            "properties": options.connect_properties,
            "user_name": options.username,
            "password": None if options.username is None else options.password,
            "will": will
            and (will.topic, will.payload, will.qos, bool(will.retain), options.will_properties),
            "strict": bool(options.strict),
            "maximum_non_publish_size": options.maximum_non_publish_size,
            "max_in_flight": min(inflight or _PACKET_IDENTIFIERS, _PACKET_IDENTIFIERS),
            "max_outgoing": options.max_queued_outgoing_messages or None,
            # A queue of the user's own class has its own limit.
            "max_incoming": incoming if incoming and incoming > 0 and not self._queue else None,
        }
