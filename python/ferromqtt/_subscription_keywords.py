"""What `Client.subscription` takes as keywords, for other calls that subscribe by it."""

# Without `annotations` from `__future__`: those of the dictionary go into signatures.

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ferromqtt import _keywords
from ferromqtt._receiving import Receiving
from ferromqtt._subscription import Ack, Overflow, Subscription
from ferromqtt.codecs import AnyDecoder
from ferromqtt.types import PropertiesLike

_Function = TypeVar("_Function", bound=Callable[..., Any])

subscription_of: Callable[..., Subscription[Any]] = Receiving.subscription
"""`Client.subscription`, whatever a subclass of the client has under that name."""


class QueueKeywords(_keywords.SubscribeKeywords, total=False):
    """The keywords of `Client.subscription` but `codec`, which says what type its messages have."""

    qos: int
    no_local: bool
    retain_as_published: bool
    retain_handling: int
    properties: PropertiesLike | None
    maxsize: int | None
    maxbytes: int | None
    overflow: Overflow
    ack: Ack | None
    timeout: float | None


class SubscriptionKeywords(QueueKeywords, total=False):
    """The keywords of `Client.subscription`, where they are described."""

    codec: AnyDecoder | None


class OnceKeywords(_keywords.SubscribeKeywords, total=False):
    """Those of them that leave it open when messages are acknowledged, and lose none."""

    no_local: bool
    retain_as_published: bool
    retain_handling: int
    properties: PropertiesLike | None
    maxsize: int | None
    maxbytes: int | None
    timeout: float | None
    codec: AnyDecoder | None


def takes_subscription(
    call: str, keywords: type = SubscriptionKeywords
) -> Callable[[_Function], _Function]:
    """Give a call with `**keywords: Unpack[SubscriptionKeywords]` the signature that it means.

    That is its own parameters, and behind them the keywords of `Client.subscription` with their
    defaults. `call` is its name for `_keywords.check_names`.
    """

    def decorate(function: _Function) -> _Function:
        own = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        theirs = [
            parameter
            for parameter in inspect.signature(Receiving.subscription).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
            and parameter.name in keywords.__annotations__
        ]
        decorated = _keywords.takes(keywords, call)(function)
        signature = inspect.signature(decorated).replace(parameters=[*own, *theirs])
        decorated.__signature__ = signature  # type: ignore[attr-defined]
        return decorated

    return decorate
