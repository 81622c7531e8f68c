"""The methods of a client that publish."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import ferromqtt  # for what is imported when somebody asks for it
from ferromqtt import _keywords, _lazy
from ferromqtt._internals import FerromqttInternalsHolder
from ferromqtt._native import Message, TypedMessage
from ferromqtt._turn import TURN
from ferromqtt.codecs import AnyEncoder, Codec, Dumps, Encoder
from ferromqtt.topic import TopicLike
from ferromqtt.types import PayloadType, PropertiesLike

if TYPE_CHECKING:
    from ferromqtt import _receipt, _requests
else:
    _receipt = _lazy.Later("ferromqtt._receipt")
    _requests = _lazy.Later("ferromqtt._requests")

_T = TypeVar("_T")


class Publishing(FerromqttInternalsHolder):
    """What a `Client` publishes by."""

    timeout: float

    @overload
    async def publish(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        **keywords: Unpack[_keywords.PublishKeywords],
    ) -> None: ...
    @overload
    async def publish(
        self,
        topic: TopicLike,
        payload: _T,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        codec: Encoder[_T] | Dumps,
        **keywords: Unpack[_keywords.PublishKeywords],
    ) -> None: ...
    @_keywords.takes(_keywords.PublishCodecKeywords)
    async def publish(
        self,
        topic: TopicLike,
        payload: PayloadType | Any = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        **keywords: Unpack[
            _keywords.PublishCodecKeywords
        ],  # with `timeout`: a parameter costs each call more
    ) -> None:
        """Publish a message.

        Returns at QoS 0 when the message is on its way to the socket, at QoS 1 and 2 when the
        server has acknowledged it. When cancelled, a message that is not on the wire yet is
        dropped; one that is stays in the session. With `reconnect` it waits while there is no
        connection, at QoS 0 too.

        Args:
            topic: The topic to publish to: a str or a `Topic`. It may be empty beside a Topic Alias
                that this connection knows.
            payload: bytes, bytearray and memoryview are sent as they are, str as UTF-8, int and
                float as text, None as nothing.
            qos: 0, 1 or 2.
            retain: Whether the server is to keep it for later subscribers.
            properties: (5.0) PUBLISH properties: `Properties`, or a dict such as
                `{"ContentType": "text/plain"}`. A `TopicAlias` stands for the topic until the
                connection ends: from the second message on it may come without the topic. The
                server's limit of size is for the packet with the topic, which a repeat needs.
                Before 5.0 they are not sent, with one warning for each client.
            timeout: Seconds to wait; None for the client's `timeout`, `math.inf` for no limit.
            payload_format_indicator: (5.0) 1 if the payload is text in UTF-8, 0 if it is bytes.
                This and the following are properties as plain keywords, beside `properties`, which
                must not have the same one: docs/mqtt5.md. Before 5.0 they are not sent, as those.
            message_expiry_interval: (5.0) Seconds for which the message is worth delivering. Not
                sent before they are over, it is dropped here; the server does likewise.
            content_type: (5.0) What the payload is, for the receiver, such as "application/json".
            response_topic: (5.0) The topic that a response is to be published to.
            correlation_data: (5.0) Bytes by which the requester knows the response.
            user_properties: (5.0) Pairs of texts for the receiver: a dict, or an iterable of pairs,
                in which a name may come several times.
            topic_alias: (5.0) A number that stands for the topic, as in `properties`.
            codec: What makes the payload of what is given as `payload`, also of None: an object
                with `encode(value)`, which returns bytes or str, or with `dumps`, such as the
                module `json`: docs/codecs.md.

        Raises:
            ValueError: The topic, QoS or a property is wrong. Nothing was sent.
            PayloadError: The codec cannot encode the payload. Nothing was sent.
            TypeError: The topic, the payload or a keyword is of a type that cannot be sent, or
                there is no such keyword. Nothing was sent.
            MqttCodeError: The client is not connected, its queue is full, a limit of the server
                forbids it (nothing was sent), or the server refused it.
            MqttError: The connection ended or time ran out; `delivery` tells whether the server may
                have got it.
        """
        internals = self._FerromqttInternalsHolder__internals
        start = internals.start_publish
        if start is None:
            await internals.publish_in_slot(
                topic, payload, qos, retain, properties, keywords, self.timeout
            )
            return
        # The fast path, written out: a call costs as much as the message.
        try:
            if keywords or properties is not None:
                waiter = internals.publish_with(
                    topic, payload, qos, retain, properties, keywords, self.timeout
                )
            else:
                waiter = start(topic, payload, qos, retain, None, self.timeout)
        except Exception:
            await TURN
            raise
        if waiter is not None:
            op = internals.core.last_op
            try:
                await waiter
            except (asyncio.CancelledError, GeneratorExit):
                internals.core.abandon(op)
                raise

    @overload
    async def enqueue(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        expires_in: float | None = None,
        keep: Literal["all", "latest"] = "all",
        **keywords: Unpack[_keywords.EnqueueKeywords],
    ) -> ferromqtt.Receipt: ...
    @overload
    async def enqueue(
        self,
        topic: TopicLike,
        payload: _T,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        codec: Encoder[_T] | Dumps,
        timeout: float | None = None,
        expires_in: float | None = None,
        keep: Literal["all", "latest"] = "all",
        **keywords: Unpack[_keywords.EnqueueKeywords],
    ) -> ferromqtt.Receipt: ...
    @_keywords.takes(_keywords.EnqueueCodecKeywords)
    async def enqueue(
        self,
        topic: TopicLike,
        payload: PayloadType | Any = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        expires_in: float | None = None,
        keep: Literal["all", "latest"] = "all",
        **keywords: Unpack[_keywords.EnqueueCodecKeywords],
    ) -> ferromqtt.Receipt:
        """Accept a message, and return a receipt that tells what becomes of it.

        Returns when the message is in the outgoing queue (`Client(outgoing_queue=...)`), which is
        at once unless that is full. Messages of the queue are sent in their order, and may be
        overtaken by those of `publish`. With `reconnect` they are accepted and kept while there is
        no connection, at QoS 0 too; without it they are accepted while there is one.

        The queue ends with the `async with` block, and with a connection that none follows.
        Leaving sends what it holds, and waits for the outcomes within the client's `timeout`, but
        not for a connection. What is left raises from its receipt, with `delivery` "not_sent", or
        "unknown" if it was on the wire. When the client is entered again the queue is empty;
        messages of QoS 1 and 2 that were on the wire are still in the session.

        Cancelled while it waits for capacity, it does not send the message; except one that was
        accepted at that very moment.

        Args:
            topic: As for `publish`. It must not be empty.
            payload: As for `publish`.
            qos: 0, 1 or 2.
            retain: Whether the server is to keep it for later subscribers.
            properties: (5.0) As for `publish`, without a Topic Alias.
            timeout: Seconds to wait until it is accepted; None for the client's `timeout`,
                `math.inf` for no limit.
            expires_in: Seconds that it may wait to be sent; None for no limit. Then its receipt
                raises `MqttDiscardedError`, on every version. On 5.0 what is left of them is sent
                as its Message Expiry Interval, in whole seconds, rounded up (3.3.2.3.3).
            keep: "latest": a later message to the same topic with the same `keep` takes its place
                while it waits, and the receipt of this one raises `MqttDiscardedError`. The later
                one waits behind all others. "all" keeps each.
            keywords: `codec`, and (5.0) properties of PUBLISH, as for `publish`.

        Raises:
            ValueError: An argument is wrong, or the codec cannot encode the payload. Nothing was
                sent.
            TypeError: An argument has the wrong type. Nothing was sent.
            MqttQueueFullError: The queue is full, with `overflow="fail"`.
            MqttTimeoutError: The queue had no capacity in time.
            MqttCodeError: There is no connection, and none will come; or a limit of the server
                forbids the message. Nothing was sent.
        """
        message = (topic, payload, qos, retain, properties)
        limit = self.timeout if timeout is None else timeout
        internals = self._FerromqttInternalsHolder__internals
        return await _receipt.enqueue(internals, message, keywords, limit, expires_in, keep)

    @overload
    def publish_nowait(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        expires_in: float | None = None,
        keep: Literal["all", "latest"] = "all",
        **keywords: Unpack[_keywords.EnqueueKeywords],
    ) -> ferromqtt.Receipt: ...
    @overload
    def publish_nowait(
        self,
        topic: TopicLike,
        payload: _T,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        codec: Encoder[_T] | Dumps,
        expires_in: float | None = None,
        keep: Literal["all", "latest"] = "all",
        **keywords: Unpack[_keywords.EnqueueKeywords],
    ) -> ferromqtt.Receipt: ...
    @_keywords.takes(_keywords.EnqueueCodecKeywords)
    def publish_nowait(
        self,
        topic: TopicLike,
        payload: PayloadType | Any = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        expires_in: float | None = None,
        keep: Literal["all", "latest"] = "all",
        **keywords: Unpack[_keywords.EnqueueCodecKeywords],
    ) -> ferromqtt.Receipt:
        """Accept a message without waiting: `enqueue` for callbacks, on the client's event loop.

        It never suspends. A loop that calls nothing else starves the other tasks, and writes
        nothing.

        Args:
            topic: As for `enqueue`.
            payload: As for `publish`.
            qos: 0, 1 or 2.
            retain: Whether the server is to keep it for later subscribers.
            properties: (5.0) As for `enqueue`.
            expires_in: As for `enqueue`.
            keep: As for `enqueue`.
            keywords: As for `enqueue`.

        Raises:
            ValueError: An argument is wrong. Nothing was sent.
            TypeError: An argument has the wrong type. Nothing was sent.
            MqttQueueFullError: The queue is full, with `overflow` "wait" or "fail".
            MqttCodeError: There is no connection, and none will come; or a limit of the server
                forbids the message. Nothing was sent.
            RuntimeError: It was called on another event loop than the client's.
        """
        message = (topic, payload, qos, retain, properties)
        internals = self._FerromqttInternalsHolder__internals
        return _receipt.publish_nowait(internals, message, keywords, expires_in, keep)

    async def publish_many(
        self,
        messages: Iterable[ferromqtt.outcomes.OutgoingMessage],
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        codec: AnyEncoder | None = None,
    ) -> list[ferromqtt.Published | Exception]:
        """Publish messages in their order, and wait for the outcome of each.

        ```python
        results = await client.publish_many([("a", 1), ("b", 2)], qos=1)
        failed = [result for result in results if isinstance(result, Exception)]
        ```

        Each message is published as by `publish`, with as many in flight as the server allows, and
        has a result of its own: a `Published`, or the exception that `publish` would have raised.
        One that fails says nothing about the others, which may have arrived, so nothing is raised
        for it. It is one call for `max_concurrent_outgoing_calls`.

        When cancelled, messages that are not on the wire yet are dropped; those that are stay in
        the session.

        Args:
            messages: Tuples of topic, payload and, if given, qos, retain and properties; dicts with
                these names; or objects with these attributes.
            qos: The QoS of those that give none.
            retain: The same for RETAIN.
            properties: (5.0) The same for PUBLISH properties.
            timeout: Seconds for each message; None for the client's `timeout`, `math.inf` for no
                limit.
            codec: What makes the payloads, as for `publish`.

        Returns:
            One result for each message, in their order.

        Raises:
            ValueError: A topic, QoS or property is wrong, or the codec cannot encode a payload
                (`PayloadError`). None of the messages was sent.
            TypeError: A message has a type that cannot be sent. None of them was sent.
            MqttCodeError: The client is not connected. None of them was sent.
        """
        limit = self.timeout if timeout is None else timeout
        internals = self._FerromqttInternalsHolder__internals
        defaults = (qos, retain, properties)
        return await _receipt.publish_many(internals, messages, defaults, limit, codec)

    @overload
    async def request(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 1,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestKeywords],
    ) -> Message: ...
    @overload
    async def request(
        self,
        topic: TopicLike,
        payload: _T,
        qos: int = 1,
        properties: PropertiesLike | None = None,
        *,
        codec: Codec[_T],
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestKeywords],
    ) -> TypedMessage[_T]: ...
    @overload
    async def request(
        self,
        topic: TopicLike,
        payload: object,
        qos: int = 1,
        properties: PropertiesLike | None = None,
        *,
        codec: AnyEncoder,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestKeywords],
    ) -> TypedMessage[Any]: ...
    @_keywords.takes(_keywords.RequestCodecKeywords)
    async def request(
        self,
        topic: TopicLike,
        payload: PayloadType | Any = None,
        qos: int = 1,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestCodecKeywords],
    ) -> Message:
        """Publish a request (5.0, section 4.10), and wait for the message that answers it.

        ```python
        answer = await client.request("clock", "what time is it?")
        print(answer.payload)
        ```

        The first request subscribes to a Response Topic of the client's own, which it keeps; each
        response is told by its Correlation Data, so any number of requests may wait at the same
        time, and none of their responses comes to `messages`. With `reconnect` a request waits
        while there is no connection. When cancelled, a request that is not on the wire yet is
        dropped, and a response that comes later is too.

        Args:
            topic: Where the responder listens.
            payload: As for `publish`.
            qos: 0, 1 or 2. At 1 and 2 many servers tell when nobody is there to respond.
            properties: PUBLISH properties, as for `publish`. Response Topic and Correlation Data
                are the client's own.
            timeout: Seconds to wait for the response; None for the client's `timeout`, `math.inf`
                for no limit.
            keywords: Properties of PUBLISH as plain keywords, as for `publish`; and `codec`, which
                makes the payload, and reads that of the response: its `value`.

        Raises:
            ValueError: An argument is wrong, the codec cannot encode the payload, or the connection
                has a version before 5.0. Nothing
                was sent.
            MqttTimeoutError: No response came in time; `delivery` tells whether the request may
                have arrived.
            MqttCodeError: Nobody has subscribed to the topic (`rc` is No matching subscribers), the
                server lets this client receive no response, or as for `publish`.
            MqttError: The connection has ended, and none follows.
        """
        time_limit = self.timeout if timeout is None else timeout
        internals = self._FerromqttInternalsHolder__internals
        return await _requests.request(
            internals, topic, payload, qos, properties, keywords, time_limit
        )

    @overload
    async def respond(
        self,
        request: Message,
        payload: PayloadType = None,
        qos: int | None = None,
        properties: PropertiesLike | None = None,
        *,
        retain: bool = False,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestKeywords],
    ) -> None: ...
    @overload
    async def respond(
        self,
        request: Message,
        payload: _T,
        qos: int | None = None,
        properties: PropertiesLike | None = None,
        *,
        codec: Encoder[_T] | Dumps,
        retain: bool = False,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestKeywords],
    ) -> None: ...
    @_keywords.takes(_keywords.RequestCodecKeywords)
    async def respond(
        self,
        request: Message,
        payload: PayloadType | Any = None,
        qos: int | None = None,
        properties: PropertiesLike | None = None,
        *,
        retain: bool = False,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.RequestCodecKeywords],
    ) -> None:
        """Answer a request (5.0): publish to its Response Topic, with its Correlation Data.

        ```python
        await client.subscribe("clock")
        async for question in client.messages:
            if question.response_topic is not None:
                await client.respond(question, "half past nine")
        ```

        `responder` brings requests alone, each of which has a method `respond`.

        Args:
            request: The message to answer.
            payload: As for `publish`.
            qos: 0, 1 or 2; None for the QoS that the request came with.
            properties: PUBLISH properties, as for `publish`.
            retain: Whether the server is to keep the response for later subscribers.
            timeout: Seconds to wait; None for the client's `timeout`, `math.inf` for no limit.
            keywords: `codec`, and properties of PUBLISH as plain keywords, as for `publish`.

        Raises:
            ValueError: The message asks for no response (it has no Response Topic), an argument is
                wrong, or the codec cannot encode the payload. Nothing was sent.
            MqttError: As for `publish`.
        """
        time_limit = self.timeout if timeout is None else timeout
        internals = self._FerromqttInternalsHolder__internals
        await _requests.respond(
            internals, request, payload, qos, retain, properties, keywords, time_limit
        )
