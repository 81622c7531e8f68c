"""The methods of `ferromqtt.blocking.Client` that publish, and those that take a codec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, Unpack, overload

from ferromqtt._blocking_calls import Call, Holder, Receipt, calls, calls_overloaded, make
from ferromqtt._blocking_responder import Responder
from ferromqtt._blocking_subscription import Subscription
from ferromqtt._keywords import (
    EnqueueCodecKeywords,
    EnqueueKeywords,
    PublishKeywords,
    RequestKeywords,
    SubscribeKeywords,
)
from ferromqtt._native import Message, TypedMessage
from ferromqtt._responder import Responder as AsyncResponder
from ferromqtt._subscription import MAXBYTES, MAXSIZE, Ack, Overflow
from ferromqtt._subscription import Subscription as AsyncSubscription
from ferromqtt._subscription_keywords import QueueKeywords
from ferromqtt.client import Client as AsyncClient
from ferromqtt.codecs import AnyEncoder, Codec, Decoder, Dumps, Encoder, Loads
from ferromqtt.outcomes import Published
from ferromqtt.outcomes import Receipt as AsyncReceipt
from ferromqtt.topic import TopicLike
from ferromqtt.types import PayloadType, PropertiesLike, SubscriptionTopic

_T = TypeVar("_T")


class Publishing(Holder):
    """What a blocking `Client` publishes and subscribes by, where a codec may be given."""

    @overload
    def publish(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        **keywords: Unpack[PublishKeywords],
    ) -> None: ...
    @overload
    def publish(
        self,
        topic: TopicLike,
        payload: _T,
        qos: int = 0,
        retain: bool = False,
        properties: PropertiesLike | None = None,
        *,
        codec: Encoder[_T] | Dumps,
        **keywords: Unpack[PublishKeywords],
    ) -> None: ...
    @calls_overloaded(AsyncClient.publish)
    def publish(self, call: Call[None]) -> None:
        """Publish a message.

        Returns at QoS 0 when the message is on its way to the socket, at QoS 1 and 2 when the
        server has acknowledged it. A call that finds 512 messages or 64 KiB on that way waits until
        they are written. When interrupted, a message that is not on the wire yet is dropped; one
        that is stays in the session.
        """
        state = self._ferromqtt_blocking
        thread = state.thread
        if thread is None or state.internals.start_publish is None:
            state.call(call)
            return
        # The fast path: this thread hands the message to the core by itself.
        thread.refuse_own_thread()
        for coroutine in map(make, (call,)):
            try:
                awaited = coroutine.send(None)
            except StopIteration:
                return
            except BaseException:  # an interruption may have kept the loop from being woken
                thread.flush()
                raise
            thread.drive(coroutine, awaited)

    @overload
    def request(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 1,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
        **keywords: Unpack[RequestKeywords],
    ) -> Message: ...
    @overload
    def request(
        self,
        topic: TopicLike,
        payload: _T,
        qos: int = 1,
        properties: PropertiesLike | None = None,
        *,
        codec: Codec[_T],
        timeout: float | None = None,
        **keywords: Unpack[RequestKeywords],
    ) -> TypedMessage[_T]: ...
    @overload
    def request(
        self,
        topic: TopicLike,
        payload: object,
        qos: int = 1,
        properties: PropertiesLike | None = None,
        *,
        codec: AnyEncoder,
        timeout: float | None = None,
        **keywords: Unpack[RequestKeywords],
    ) -> TypedMessage[Any]: ...
    @calls_overloaded(AsyncClient.request)
    def request(self, call: Call[Message]) -> Message:
        """Publish a request (5.0, section 4.10), and wait for the message that answers it."""
        return self._ferromqtt_blocking.call(call)

    @overload
    def respond(
        self,
        request: Message,
        payload: PayloadType = None,
        qos: int | None = None,
        properties: PropertiesLike | None = None,
        *,
        retain: bool = False,
        timeout: float | None = None,
        **keywords: Unpack[RequestKeywords],
    ) -> None: ...
    @overload
    def respond(
        self,
        request: Message,
        payload: _T,
        qos: int | None = None,
        properties: PropertiesLike | None = None,
        *,
        codec: Encoder[_T] | Dumps,
        retain: bool = False,
        timeout: float | None = None,
        **keywords: Unpack[RequestKeywords],
    ) -> None: ...
    @calls_overloaded(AsyncClient.respond)
    def respond(self, call: Call[None]) -> None:
        """Answer a request (5.0): publish to its Response Topic, with its Correlation Data."""
        self._ferromqtt_blocking.call(call)

    @overload
    def enqueue(
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
        **keywords: Unpack[EnqueueKeywords],
    ) -> Receipt: ...
    @overload
    def enqueue(
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
        **keywords: Unpack[EnqueueKeywords],
    ) -> Receipt: ...
    @calls_overloaded(AsyncClient.enqueue)
    def enqueue(self, call: Call[AsyncReceipt]) -> Receipt:
        """Accept a message, and return a receipt that tells what becomes of it.

        Returns when the message is in the outgoing queue, which is at once unless that is full: see
        `ferromqtt.Client.enqueue`.
        """
        state = self._ferromqtt_blocking
        return Receipt(state, state.call(call))

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
        **keywords: Unpack[EnqueueKeywords],
    ) -> Receipt: ...
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
        **keywords: Unpack[EnqueueKeywords],
    ) -> Receipt: ...
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
        **keywords: Unpack[EnqueueCodecKeywords],
    ) -> Receipt:
        """Accept a message without waiting for capacity: as `ferromqtt.Client.publish_nowait`.

        It waits until the client's own thread has accepted the message. The parameters and errors
        are those of `enqueue`, and `MqttQueueFullError` comes with `overflow="wait"` too.
        """
        state = self._ferromqtt_blocking

        async def accept() -> AsyncReceipt:
            publish: Callable[..., AsyncReceipt] = state.client.publish_nowait
            return publish(
                topic,
                payload,
                qos,
                retain,
                properties,
                expires_in=expires_in,
                keep=keep,
                **keywords,
            )

        return Receipt(state, state.call(accept))

    @calls(AsyncClient.publish_many)
    def publish_many(self, call: Call[list[Published | Exception]]) -> list[Published | Exception]:
        """Publish messages in their order, and wait for the outcome of each.

        A message that fails raises nothing: its result is the exception. When interrupted, messages
        that are not on the wire yet are dropped; those that are stay in the session.
        """
        return self._ferromqtt_blocking.call(call)

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
        **keywords: Unpack[SubscribeKeywords],
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
        **keywords: Unpack[SubscribeKeywords],
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
        **keywords: Unpack[SubscribeKeywords],
    ) -> Subscription[TypedMessage[Any]]: ...
    @calls_overloaded(AsyncClient.subscription)
    def subscription(self, subscription: Callable[[], AsyncSubscription]) -> Subscription:
        """Return a subscription with a queue of its own, to be entered by `with`.

        ```python
        with client.subscription("room/+/temp", qos=1) as messages:
            for message in messages:
                print(message.topic, message.payload)
        ```

        Its messages go to `messages` alone. Leaving the block unsubscribes. It may be entered
        before the client is: then the client subscribes whenever it is entered.
        """
        return Subscription(self._ferromqtt_blocking, subscription())

    @overload
    def responder(
        self,
        *topics: SubscriptionTopic,
        codec: None = None,
        **keywords: Unpack[QueueKeywords],
    ) -> Responder: ...
    @overload
    def responder(
        self,
        *topics: SubscriptionTopic,
        codec: Decoder[_T],
        **keywords: Unpack[QueueKeywords],
    ) -> Responder[_T]: ...
    @overload
    def responder(
        self,
        *topics: SubscriptionTopic,
        codec: Loads,
        **keywords: Unpack[QueueKeywords],
    ) -> Responder[Any]: ...
    @calls_overloaded(AsyncClient.responder)
    def responder(self, responder: Callable[[], AsyncResponder]) -> Responder:
        """Return a responder (5.0, section 4.10): a subscription to requests, which it answers.

        ```python
        for request in client.responder("square", qos=1):
            request.respond(int(request.payload) ** 2)
        ```

        The subscription ends with the loop. Entered by `with`, it ends with the block instead, as
        for `ferromqtt.Client.responder`.
        """
        return Responder(self._ferromqtt_blocking, responder())
