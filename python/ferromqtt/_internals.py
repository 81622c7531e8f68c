"""State and machinery of a client, kept apart from it so that subclasses may use any name."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ferromqtt._arguments import (
    SubscribeFilter,
    SubscriptionFlags,
    has_options,
    subscribe_filters,
    subscription_filters,
    unsubscribe_filters,
    without_options,
    without_templates,
)
from ferromqtt._checks import check_timeout, wrong_queue
from ferromqtt._client_options import ClientOptions
from ferromqtt._codec_arguments import Reading, take_encoded
from ferromqtt._connector import Connector
from ferromqtt._driver import Protocol
from ferromqtt._errors import draining, not_connected
from ferromqtt._keywords import PublishCodecKeywords, are_given, check_names, joined
from ferromqtt._native import Message, SubscriptionQueue
from ferromqtt._option_checks import check_enter
from ferromqtt._option_values import MQTT_CLEAN_START_FIRST_ONLY, ProtocolVersion
from ferromqtt._queue import MessageQueue
from ferromqtt._recording import recorder
from ferromqtt._seed import client_seed
from ferromqtt._slots import CallSlots
from ferromqtt._subscription import QueueTerms, Subscription
from ferromqtt._transport.attempt import address_of
from ferromqtt._transport.tls import TLSContext
from ferromqtt._turn import TURN, TURN_BEFORE_ERROR
from ferromqtt.codecs import AnyDecoder
from ferromqtt.exceptions import MqttError, MqttReentrantError
from ferromqtt.properties import has_any
from ferromqtt.reasons import PacketTypes, ReasonCode
from ferromqtt.topic import TopicLike
from ferromqtt.types import (
    PayloadType,
    PropertiesLike,
    SubscribeOptionsLike,
    SubscribeTopic,
    UnsubscribeTopic,
)

if TYPE_CHECKING:
    from ferromqtt._drain import Drained
    from ferromqtt.connection import CredentialsSource, Reconnect
    from ferromqtt.outbox import Outbox

_DEFAULT_INFLIGHT = 20
# As many are in flight where there is no limit.
_PACKET_IDENTIFIERS = 65_535
_CLEAN_START: dict[bool | int, int] = {False: 0, True: 1, MQTT_CLEAN_START_FIRST_ONLY: 2}
"""The core's numbers: never, always, at the first connection."""


class Internals:
    """State and machinery of one client.

    Never reads an attribute of the client, since a subclass may have redefined it: each call is
    passed the value of `timeout`, the only one that matters here.
    """

    default_logger_name: ClassVar[str] = "ferromqtt"
    pending_calls_text: ClassVar[str | None] = None

    def __init__(
        self,
        options: ClientOptions,
        *,
        logger: logging.Logger | None,
        queue_type: type[asyncio.Queue[Message]] | None,
        max_outgoing_calls: int | None,
        will_on_error: bool,
        authenticator: Callable[[bytes], bytes | Awaitable[bytes]] | None,
        credentials: CredentialsSource | None = None,
        manual_ack: bool = False,
    ) -> None:
        self.options = options
        self._has_credentials = credentials is not None
        self._will_on_error = will_on_error
        self.core = core = Protocol(client_seed())
        core.logger = logger or logging.getLogger(self.default_logger_name)
        core.pending_calls_text = self.pending_calls_text
        core.authenticator = authenticator
        core.manual_ack = bool(manual_ack)
        if options.falls_back:
            core.on_accepted = self._warn_of_fall_back
        self._connector = Connector(options, TLSContext(options), core, credentials)
        core.connector = self._connector
        self.start_publish = core.publish if max_outgoing_calls is None else None
        """What `Client.publish` calls for each message, unless calls have to wait for slots."""
        self.entered = False
        self._was_entered = False
        self._warnings: set[str] = set()
        self._subscribes_with_options = self._subscribes_with_properties = False
        self._max_outgoing_calls = max_outgoing_calls
        if max_outgoing_calls is not None:
            core.max_calls = max(max_outgoing_calls, 0)
        self._slots = self._make_slots()
        self.queue: MessageQueue | None = None
        if queue_type is not None:
            self.use_queue(queue_type)

    def attach(self, client: object) -> None:
        """Do what a subclass of this class needs at the end of the client's constructor."""

    async def publish_in_slot(
        self,
        topic: TopicLike,
        payload: PayloadType,
        qos: int,
        retain: bool,
        properties: PropertiesLike | None,
        keywords: PublishCodecKeywords,
        timeout: float,
    ) -> None:
        """Publish once there is a free slot."""
        async with TURN_BEFORE_ERROR:
            payload = take_encoded(topic, payload, keywords)
        async with self.slot():
            async with TURN_BEFORE_ERROR:
                waiter = self.publish_with(
                    topic, payload, qos, retain, properties, keywords, timeout
                )
            if waiter is not None:
                await self.wait(waiter)

    def publish_with(
        self,
        topic: TopicLike,
        payload: PayloadType,
        qos: int,
        retain: bool,
        properties: PropertiesLike | None,
        keywords: PublishCodecKeywords,
        timeout: float,
    ) -> Awaitable[object] | None:
        """Publish with properties, or within a time limit that is among the keywords."""
        payload = take_encoded(topic, payload, keywords)
        given = keywords.pop("timeout", None)
        native = self.call_properties("publish", PacketTypes.PUBLISH, properties, keywords)
        time_limit = timeout if given is None else given
        return self.core.publish(topic, payload, qos, retain, native, time_limit)

    async def subscribe(
        self,
        topic: SubscribeTopic,
        qos: int,
        options: SubscribeOptionsLike | None,
        properties: PropertiesLike | None,
        keywords: Mapping[str, object],
        timeout: float,
    ) -> list[ReasonCode]:
        """Subscribe; return a Reason Code for each filter."""
        async with TURN_BEFORE_ERROR:
            filters = subscribe_filters(topic, qos, options, self._form)
            if self.options.falls_back:
                filters = self._expressible(filters)
            elif options is not None and self.version != ProtocolVersion.V5:
                self._warn_of_options()
            native = self.call_properties("subscribe", PacketTypes.SUBSCRIBE, properties, keywords)
        async with self.slot():
            async with TURN_BEFORE_ERROR:
                waiter = self.core.subscribe(filters, native, timeout)
            codes = await self.wait(waiter)
        return [ReasonCode(PacketTypes.SUBACK, identifier=code) for code in codes]

    @property
    def has_yet_to_connect(self) -> bool:
        """Whether there is no connection, and calls do not wait for the one that comes."""
        core = self.core
        return not self.entered or (core.state == "connecting" and not core.reconnects)

    async def subscribe_queue(
        self,
        queue: SubscriptionQueue,
        filters: list[SubscribeFilter],
        properties: dict[str, object] | None,
        timeout: float,
    ) -> None:
        """Subscribe for a queue of its own, which then has the server's answer."""
        async with self.slot():
            async with TURN_BEFORE_ERROR:
                waiter = queue.subscribe(filters, properties, timeout)
            await self.wait(waiter)

    def subscription(
        self,
        topics: tuple[Any, ...],
        qos: int,
        options: SubscriptionFlags,
        properties: PropertiesLike | None,
        keywords: Mapping[str, object],
        queue: QueueTerms,
        timeout: float,
        codec: AnyDecoder | None,
    ) -> Subscription[Any]:
        """Return a subscription that can be entered."""
        check_names("subscription", keywords)  # before it is missed that there is no filter
        plain, templates = without_templates(topics)
        filters = self._expressible(subscription_filters(plain, qos, options, self._form))
        reading = Reading.of(templates, codec)
        queue.check()
        check_timeout(timeout)
        packet = PacketTypes.SUBSCRIBE
        native = self._native_properties(packet, properties, keywords)
        return Subscription(self, filters, native, queue, timeout, reading)

    async def unsubscribe(
        self,
        topic: UnsubscribeTopic,
        properties: PropertiesLike | None,
        keywords: Mapping[str, object],
        timeout: float,
    ) -> None:
        """Unsubscribe."""
        packet = PacketTypes.UNSUBSCRIBE
        async with TURN_BEFORE_ERROR:
            filters = unsubscribe_filters(topic)
            native = self.call_properties("unsubscribe", packet, properties, keywords)
        async with self.slot():
            async with TURN_BEFORE_ERROR:
                waiter = self.core.unsubscribe(filters, native, timeout)
            await self.wait(waiter)

    async def enter(self, timeout: float) -> None:
        """Connect within `timeout` seconds; after a failure the client can be entered again."""
        async with TURN_BEFORE_ERROR:
            if self.entered:
                raise MqttReentrantError(
                    "The client context manager is reusable, but not reentrant"
                )
            self.entered = True
            try:
                check_timeout(timeout)
                check_enter(self.options)
                # One for each loop: it belongs to the one in which calls first wait.
                self._slots = self._make_slots()
                if self.options.outbox is not None:
                    await self._open_outbox(self.options.outbox)
                elif not self._was_entered:
                    self.core.configure(None, **self.core_options())
                if not self._was_entered:
                    if self.options.outbox is None:
                        self.core.set_outgoing_queue(*self.options.outgoing_bounds)
                    if record := recorder(self.options.record, self.options.record_payloads):
                        self.core.record(record)
                    self._was_entered = True
                    self._warn_of_unused_headers()
                    will = self.options.will
                    if will is not None and self.version != ProtocolVersion.V5:
                        self._warn_of_properties(will.properties, self.options.will_keywords)
                await self._connect(timeout)
            except BaseException:
                self.entered = False
                raise

    async def leave(self, timeout: float, *, failed: bool) -> None:
        """Disconnect. With `failed` the block was left by an exception, and nothing is awaited."""
        if not self._was_entered:
            text = "Could not gracefully disconnect: %d. Forcing disconnection."
            self.core.logger.warning(text, 4)
            await TURN
            return
        async with TURN_BEFORE_ERROR:
            publish_will = self._will_on_error and failed
            try:
                try:
                    await self.core.stop(timeout, publish_will=publish_will, wait=not failed)
                finally:
                    await self.core.close_outbox_and_wait()
            finally:
                self.entered = False
                if self._slots is not None and self._slots.is_left:
                    self._slots = self._make_slots()

    async def drain(self, timeout: float) -> Drained:
        """Refuse new messages, and disconnect when all that was accepted has its outcome."""
        from ferromqtt._drain import drain  # noqa: PLC0415 - for those who want it

        async with TURN_BEFORE_ERROR:
            check_timeout(timeout)
            begins = self.core.state == "connecting" and self.options.outbox is None
            if not self.entered or begins or self.core.state == "disconnected":
                raise draining() if self.core.is_draining else not_connected("Could not drain")
            return await drain(self.core, timeout)

    async def _connect(self, timeout: float) -> None:
        """Connect, with `timeout` seconds for each attempt."""
        self._connector.limit = timeout
        try:
            await self.core.start(address_of(self.options))
            if self.options.outbox is not None and self.options.reconnects is not None:
                self.core.wait_for_no_server()
            await self.core.accepted()
        except BaseException:
            try:
                await self.core.cancel_start()
            finally:
                await self.core.close_outbox_and_wait()
            raise

    async def _open_outbox(self, outbox: Outbox) -> None:
        """Take up what the outbox holds, or go on with it when the client is entered again."""
        from ferromqtt._outbox import opened  # noqa: PLC0415 - for those who have one

        folder = await opened(outbox, self.options.identifier or "")
        self.options.identifier = folder.client_identifier
        if not self._was_entered:
            self.core.configure(folder, **self.core_options())
        elif not self.core.take_up_outbox(folder):
            raise MqttError(
                "Another client has had the outbox since this one was left, and has what was here: "
                "make a new client"
            )

    async def wait(self, waiter: Any) -> Any:  # noqa: ANN401 - any call's future
        """Wait for a call that was just accepted; tell the core when it is given up."""
        op = self.core.last_op
        try:
            return await waiter
        except (asyncio.CancelledError, GeneratorExit):
            self.core.abandon(op)
            raise

    def slot(self) -> contextlib.AbstractAsyncContextManager[object]:
        """Return what a call waits in for a free slot."""
        return self._slots or contextlib.nullcontext()

    @property
    def version(self) -> ProtocolVersion:
        """The version of MQTT in use."""
        if self.options.falls_back:
            return ProtocolVersion(self.core.protocol)
        return cast("ProtocolVersion", self.options.protocol)  # never None there

    @property
    def _form(self) -> ProtocolVersion:
        """The version whose arguments subscribing takes: where the client falls back always 5.0's.

        A program does not know what the server speaks.
        """
        return cast("ProtocolVersion", self.options.protocol)

    def _expressible(self, filters: list[SubscribeFilter]) -> list[SubscribeFilter]:
        """Leave out, with a warning, what the version in use has not: all options but the QoS."""
        if not has_options(filters):
            return filters
        if self.version == ProtocolVersion.V5:
            self._subscribes_with_options = True
            return filters
        self._warn_of_other_options()
        return without_options(filters)

    def _warn_of_fall_back(self) -> None:
        """Tell what the core leaves out of subscriptions that were made before the fallback."""
        if self.version == ProtocolVersion.V5:
            return
        if self._subscribes_with_options:
            self._warn_of_other_options()
        if self._subscribes_with_properties:
            self._warn_that_properties_are_not_sent()

    def _warn_of_other_options(self) -> None:
        self._warn_once(
            "Subscribe options other than the QoS are not sent: MQTT %s has none. Leave them out, "
            "or give the client protocol=ProtocolVersion.V5.",
            self._version_name,
        )

    def call_properties(
        self,
        call: str,
        packet_type: int,
        properties: PropertiesLike | None,
        keywords: Mapping[str, object],
    ) -> dict[str, object] | None:
        """The properties of a call as the core takes them; before 5.0 they are not used.

        Raises:
            TypeError: `call` has no such keyword, or a keyword has the wrong type.
            ValueError: A property is wrong, or is given twice.
        """
        check_names(call, keywords)
        return self._native_properties(packet_type, properties, keywords)

    def _native_properties(
        self,
        packet_type: int,
        properties: PropertiesLike | None,
        keywords: Mapping[str, object],
    ) -> dict[str, object] | None:
        """As `call_properties`, of keywords whose names are checked."""
        if self.version == ProtocolVersion.V5:
            native = joined(properties, packet_type, keywords)
            if native and packet_type == PacketTypes.SUBSCRIBE:
                self._subscribes_with_properties = True
            return native
        self._warn_of_properties(properties, keywords)
        return None

    def _warn_of_properties(
        self, properties: PropertiesLike | None, keywords: Mapping[str, object]
    ) -> None:
        given = properties is not None and has_any(properties)
        if not (given or are_given(keywords)):
            return
        self._warn_that_properties_are_not_sent()

    def _warn_that_properties_are_not_sent(self) -> None:
        self._warn_once(
            "Properties are not sent: MQTT %s has none. Leave them out, or give the client "
            "protocol=ProtocolVersion.V5.",
            self._version_name,
        )

    def _warn_of_options(self) -> None:
        self._warn_once(
            "Subscribe options are not sent: MQTT %s has none, and the QoS is that of `qos`. Give "
            "it there, or give the client protocol=ProtocolVersion.V5.",
            self._version_name,
        )

    def _warn_once(self, text: str, *values: object) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            self.core.warn(text, *values)

    def _warn_of_unused_headers(self) -> None:
        options = self.options
        over_websocket = options.transport == "websockets"
        if over_websocket and options.websocket_headers and not options.websocket_path:
            self.core.warn(
                "websocket_headers are not sent: they are used with a websocket_path alone. "
                'Give websocket_path="/mqtt" too, which is the path without one.'
            )

    @property
    def _version_name(self) -> str:
        return "3.1" if self.version == ProtocolVersion.V31 else "3.1.1"

    def use_queue(self, queue_type: type[asyncio.Queue[Message]]) -> MessageQueue:
        """Let received messages go through a queue of this class."""
        limit = max(self.options.max_queued_incoming_messages or 0, 0)
        core = self.core
        try:
            made = queue_type(maxsize=limit)
        except TypeError as error:
            raise wrong_queue(queue_type, f": {error}") from error
        if not (hasattr(made, "put_nowait") and hasattr(made, "get")):
            raise wrong_queue(queue_type, ", which has no put_nowait and get")
        self.queue = queue = MessageQueue(
            made,
            core.iteration_end,
            core.warn_if_not_entered,
            core.warn_of_repeating,
            core.report,
            core.discard,
        )
        core.message_sink = queue.put
        core.on_begin = queue.begin
        core.on_end = queue.wake_all
        return queue

    def _make_slots(self) -> CallSlots | None:
        limit = self._max_outgoing_calls
        return None if limit is None else CallSlots(limit)

    def core_options(self) -> dict[str, object]:
        """The options as the core takes them."""
        options = self.options
        will = options.will
        inflight = options.max_inflight_messages
        if inflight is None:
            inflight = options.usual_in_flight or _DEFAULT_INFLIGHT
        incoming = options.max_queued_incoming_messages
        return {
            "protocol": int(cast("ProtocolVersion", options.protocol)),
            "fall_back": options.falls_back,
            "profile": options.profile,
            "topic_aliases": options.most_topic_aliases,
            "client_identifier": options.identifier or "",
            "clean_start": _CLEAN_START[options.clean],
            "keep_alive": options.keepalive,
            "properties": options.connect_properties,
            "user_name": options.username,
            "password": options.password if options.sends_password else None,
            "will": will
            and (will.topic, will.payload, will.qos, bool(will.retain), options.will_properties),
            "strict": bool(options.strict),
            "reconnect": options.reconnects and _native_policy(options.reconnects, options.outbox),
            "servers": 1 + len(options.further_servers),
            "fresh_credentials": self._has_credentials,
            "maximum_non_publish_size": options.maximum_non_publish_size,
            "session_expiry_at_disconnect": options.session_expiry_at_disconnect,
            "max_in_flight": min(inflight or _PACKET_IDENTIFIERS, _PACKET_IDENTIFIERS),
            "max_outgoing": options.max_queued_outgoing_messages or None,
            # A queue of the user's own class has its own limit.
            "max_incoming": incoming if incoming and incoming > 0 and not self.queue else None,
        }


def _native_policy(
    policy: Reconnect, outbox: Outbox | None
) -> tuple[float, float, int, int | None, bool]:
    """Return how to reconnect as the core takes it."""
    percent = round(policy.jitter * 100)
    attempts = None if policy.attempts is None else int(policy.attempts)
    return (
        float(policy.min),
        float(policy.max),
        percent,
        attempts,
        bool(policy.initial) or outbox is not None,
    )


if TYPE_CHECKING:
    free_property = property
else:

    class free_property:  # noqa: N801 - as `property`
        """A property in whose place a subclass may set an attribute of its own."""

        def __init__(self, read: Callable[[Any], Any]) -> None:
            functools.update_wrapper(self, read)

        def __get__(self, client: object, _class: type | None = None) -> object:
            return self if client is None else self.__wrapped__(client)


class FerromqttInternalsHolder:
    """Base of `Client`. Its attributes are the only private ones that a client has.

    They have the names that Python makes of `__internals` and `__internals_class` in a class of
    this name. `_Client__internals` would not do: a user's subclass may be named `Client` too.
    """

    _FerromqttInternalsHolder__internals_class: ClassVar[type[Internals]] = Internals
    _FerromqttInternalsHolder__internals: Internals


def internals_of(client: FerromqttInternalsHolder) -> Internals:
    """Return the internals of a client. The shim and the tests get at them this way."""
    return client._FerromqttInternalsHolder__internals  # noqa: SLF001 - the way to it
