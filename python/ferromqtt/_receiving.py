"""The methods of a client that subscribe, and those that messages are taken by."""

from __future__ import annotations

from typing import Any, TypeVar, Unpack, cast, overload

import ferromqtt  # for what is imported when somebody asks for it
from ferromqtt import _keywords
from ferromqtt._arguments import SubscriptionFlags
from ferromqtt._internals import FerromqttInternalsHolder
from ferromqtt._native import MessagesIterator, TypedMessage
from ferromqtt._queue import QueuedMessages
from ferromqtt._subscription import MAXBYTES, MAXSIZE, Ack, Overflow, QueueTerms, Subscription
from ferromqtt.codecs import AnyDecoder, Decoder, Loads
from ferromqtt.reasons import ReasonCode
from ferromqtt.types import (
    PropertiesLike,
    SubscribeOptionsLike,
    SubscribeTopic,
    SubscriptionTopic,
    UnsubscribeTopic,
)

_T = TypeVar("_T")


class Receiving(FerromqttInternalsHolder):
    """What a `Client` receives by."""

    timeout: float

    @property
    def messages(self) -> MessagesIterator:
        """A new iterator over the received messages, each of which goes to one iterator.

        What a `subscription` with a queue of its own has asked for is not among them. `len()` is
        the number of queued messages. The queue has no limit unless
        `max_queued_incoming_messages` sets one. Iterating raises `MqttError` once the queue is
        empty and the connection has ended; with `reconnect`, once none will follow. A cancelled
        step loses no message. Its method `batches(max=100)` iterates over lists of 1 to `max`
        messages that are there, without waiting for more. On a client that is not entered an
        iterator waits until a task enters it, and one warning is logged.
        """
        internals = self._FerromqttInternalsHolder__internals
        if internals.queue is not None:
            return cast("MessagesIterator", QueuedMessages(internals.queue))  # has the same methods
        return internals.core.messages()

    def unacknowledged(self) -> ferromqtt.Unacknowledged:
        """Return what the program has taken and not acknowledged yet.

        It counts the messages of `manual_ack`, and those of subscriptions whose messages the
        program acknowledges. A message that waits in a queue is not among them, nor one of a
        connection that has ended. It takes time for each of them, so call it once in a while.
        """
        core = self._FerromqttInternalsHolder__internals.core
        messages, oldest, held_back = core.unacknowledged()
        return ferromqtt.Unacknowledged(messages=messages, oldest=oldest, held_back=held_back)

    @_keywords.takes(_keywords.SubscribeKeywords)
    async def subscribe(
        self,
        topic: SubscribeTopic,
        qos: int = 0,
        options: SubscribeOptionsLike | None = None,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.SubscribeKeywords],
    ) -> list[ReasonCode]:
        """Subscribe to one or more filters.

        Args:
            topic: A filter (a str, `Topic`, `Wildcard` or `TopicTemplate`, whose filter it is then;
                braces in a str are what they are), a pair of filter and QoS (on 5.0 of filter and
                options), or a list (not a tuple) of filters and pairs. In a list a pair may have a
                QoS on 5.0 too.
            qos: The QoS for filters that are not in a pair.
            options: (5.0) `SubscribeOptions` for these filters, instead of `qos`. Before 5.0 they
                are not used, with one warning for each client.
            properties: (5.0) SUBSCRIBE properties, as for `publish`.
            timeout: Seconds to wait; None for the client's `timeout`, `math.inf` for no limit.
            subscription_identifier: (5.0) A number from 1 to 268,435,455 that comes with each
                message of these filters, in `Message.subscription_identifiers`.
            user_properties: (5.0) As for `publish`, for the server.

        Returns:
            A Reason Code for each filter. A filter that the server refuses does not raise: look at
            `is_failure`.

        Raises:
            ValueError: An argument is wrong. Nothing was sent.
            TypeError: A keyword has the wrong type, or there is none of that name. Nothing was
                sent.
            MqttCodeError: The client is not connected, or a limit of the server forbids it.
            MqttError: The connection ended or time ran out.
        """
        time_limit = self.timeout if timeout is None else timeout
        return await self._FerromqttInternalsHolder__internals.subscribe(
            topic, qos, options, properties, keywords, time_limit
        )

    @overload
    def subscription(
        self,
        *topics: SubscriptionTopic,
        codec: None = None,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        properties: PropertiesLike | None = None,
        maxsize: int | None = MAXSIZE,
        maxbytes: int | None = MAXBYTES,
        overflow: Overflow = "wait",
        ack: Ack | None = None,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.SubscribeKeywords],
    ) -> Subscription: ...
    @overload
    def subscription(
        self,
        *topics: SubscriptionTopic,
        codec: Decoder[_T],
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        properties: PropertiesLike | None = None,
        maxsize: int | None = MAXSIZE,
        maxbytes: int | None = MAXBYTES,
        overflow: Overflow = "wait",
        ack: Ack | None = None,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.SubscribeKeywords],
    ) -> Subscription[TypedMessage[_T]]: ...
    @overload
    def subscription(
        self,
        *topics: SubscriptionTopic,
        codec: Loads,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        properties: PropertiesLike | None = None,
        maxsize: int | None = MAXSIZE,
        maxbytes: int | None = MAXBYTES,
        overflow: Overflow = "wait",
        ack: Ack | None = None,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.SubscribeKeywords],
    ) -> Subscription[TypedMessage[Any]]: ...
    @_keywords.takes(_keywords.SubscribeKeywords)
    def subscription(
        self,
        *topics: SubscriptionTopic,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        properties: PropertiesLike | None = None,
        maxsize: int | None = MAXSIZE,
        maxbytes: int | None = MAXBYTES,
        overflow: Overflow = "wait",
        ack: Ack | None = None,
        timeout: float | None = None,
        codec: AnyDecoder | None = None,
        **keywords: Unpack[_keywords.SubscribeKeywords],
    ) -> Subscription[Any]:
        """Return a subscription with a queue of its own, to be entered by `async with`.

        ```python
        async with client.subscription("room/+/temp", qos=1) as messages:
            async for message in messages:
                print(message.topic, message.payload)
        ```

        Its messages go to `messages` alone, and `Client.messages` gets what no such subscription
        has asked for. Leaving the block unsubscribes. It may be entered before the client is: then
        the client subscribes whenever it is entered. docs/subscriptions.md of the repository says
        what happens when messages match several subscriptions, and when the session outlives the
        program. An addition to aiomqtt's methods.

        Args:
            topics: The filters, in one SUBSCRIBE: each a str, `Topic` or `Wildcard`, a pair of
                filter and QoS (on 5.0 also of filter and `SubscribeOptions`, which then are all its
                options), or a list of these. A `TopicTemplate`, or a str with braces, which is one,
                names levels: of "room/{room}/temp" each message has `params["room"]`. A brace that
                is meant is doubled. Of several templates the first that matches counts.
            qos: The highest QoS at which the server is to send, for filters without their own.
            no_local: (5.0) Whether the client's own messages are to be left out.
            retain_as_published: (5.0) Whether messages keep the retain flag that they were
                published with.
            retain_handling: (5.0) When the server sends retained messages: 0 at each subscription,
                1 if the filter is a new one, 2 never.
            properties: (5.0) SUBSCRIBE properties, as for `publish`.
            maxsize: How many messages may wait to be taken, at least 1; None for no bound but
                `maxbytes`. With `overflow="wait"` the
                queue also keeps what the server sends beyond that without an acknowledgement: at
                QoS 1 and 2 as many messages as its window has, which `receive_maximum` of the
                client bounds on 5.0.
            maxbytes: How many bytes of memory they may take, at least 1: topics, payloads and
                properties, and 128 bytes for each message. An empty queue takes a larger one. None
                for no bound but `maxsize`; one of the two must be given.
            overflow: What happens to a message that finds the queue full. "wait": the server waits.
                QoS 1 and 2 messages are not acknowledged until there is capacity, and nothing is
                read behind a QoS 0 message, for all queues of the client; QoS 0 messages are lost
                when nobody has iterated for 5 seconds, or while a call waits for an answer and the
                queue holds twice its bounds. "drop_oldest": the oldest messages leave.
                "drop_newest": the new one is not taken. "fail": nothing more is taken, and
                iterating raises `MqttOverflowError` behind what the queue holds. Each loss is
                counted (`take_lost`), and the first one is an event `Lagged` and a warning.
            ack: "auto": the client acknowledges a message when the queue has taken it. "manual":
                the program acknowledges each, by `Message.ack` or `reject`, also after the block
                was left. None: "manual" for a client with `manual_ack`, "auto" otherwise.
            timeout: Seconds that subscribing may take; None for the client's `timeout`, `math.inf`
                for no limit.
            codec: What reads the payloads: an object with `decode(payload)`, such as
                `json_codec(Reading)`, or with `loads`, such as the module `json`. Messages are
                `TypedMessage` then, with a `value`, or an `error` where the payload cannot be
                decoded: docs/codecs.md.
            keywords: (5.0) The properties of SUBSCRIBE that `subscribe` takes as keywords.

        Raises:
            ValueError: An argument is wrong. Nothing was sent.
            TypeError: An argument has the wrong type. Nothing was sent.
        """
        return self._FerromqttInternalsHolder__internals.subscription(
            topics,
            qos,
            SubscriptionFlags(no_local, retain_as_published, retain_handling),
            properties,
            keywords,
            QueueTerms(maxsize, maxbytes, overflow, ack),
            self.timeout if timeout is None else timeout,
            codec,
        )

    @_keywords.takes(_keywords.UnsubscribeKeywords)
    async def unsubscribe(
        self,
        topic: UnsubscribeTopic,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        **keywords: Unpack[_keywords.UnsubscribeKeywords],
    ) -> None:
        """Unsubscribe from one filter or several.

        A filter that the server refuses to unsubscribe (5.0) raises nothing, as in aiomqtt: it is
        logged as a warning, and is a `NotUnsubscribed` event of `events`.

        Args:
            topic: A filter (a str, `Topic` or `Wildcard`) or a list (not a tuple) of filters.
            properties: (5.0) UNSUBSCRIBE properties, as for `publish`.
            timeout: Seconds to wait; None for the client's `timeout`, `math.inf` for no limit.
            user_properties: (5.0) As for `publish`, for the server.

        Raises:
            ValueError: An argument is wrong. Nothing was sent.
            TypeError: A keyword has the wrong type, or there is none of that name. Nothing was
                sent.
            MqttCodeError: The client is not connected.
            MqttError: The connection ended or time ran out.
        """
        time_limit = self.timeout if timeout is None else timeout
        await self._FerromqttInternalsHolder__internals.unsubscribe(
            topic, properties, keywords, time_limit
        )
