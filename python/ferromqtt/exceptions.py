"""The exceptions of a client. Wrong arguments are `ValueError` and `TypeError`, not these."""

from __future__ import annotations

from typing import Any, Literal

from ferromqtt.reasons import MQTTErrorCode, ReasonCode, error_string

ConnectPhase = Literal["resolve", "tcp", "unix", "proxy", "tls", "websocket", "connect"]
"""What failed of an attempt to connect; "connect" is the exchange of CONNECT and CONNACK."""


class MqttError(Exception):
    """Base of everything that a client raises about its connection or a server's answer.

    The text begins with aiomqtt's, and goes on with what failed, where, and what to do. An error of
    the operating system or of TLS is the `__cause__`. docs/errors.md of the repository lists every
    text with its cause and its remedy.

    Attributes:
        delivery: Of a call that failed: "not_sent" when the server cannot have got it, "refused"
            when it has got the message and refused it, "unknown" when it may have got it. None when
            the question makes no sense.
        phase: Of an attempt to connect: what failed. None for other errors.
        address: Host and port, or the path of a socket, that the error is about, if it is about a
            connection. Through a proxy, that is named too.
    """

    delivery: Literal["not_sent", "refused", "unknown"] | None = None
    phase: ConnectPhase | None = None
    address: str | None = None


class MqttTimeoutError(MqttError, TimeoutError):
    """What was waited for did not happen in time."""

    def __init__(self, message: str = "Operation timed out") -> None:
        super().__init__(message)


class MqttCodeError(MqttError):
    """An error with a code.

    Args:
        rc: A Reason Code of the standard, or one of `MQTTErrorCode`.
        args: What could not be done.

    Attributes:
        rc: The code.
    """

    def __init__(self, rc: int | ReasonCode | None, *args: object) -> None:
        super().__init__(*args)
        self.rc = rc

    def __str__(self) -> str:
        if isinstance(self.rc, int):
            return f"[code:{int(self.rc)}] {error_string(self.rc)}"
        # Any class of Reason Codes will do, so one may come from another library.
        value = getattr(self.rc, "value", None)
        if value is not None:
            return f"[code:{value}] {self.rc}"
        return f"[code:{self.rc}] {super().__str__()}"

    def __repr__(self) -> str:
        # `args` lacks the code, and is often empty.
        return f"{type(self).__name__}({', '.join(map(repr, (str(self), *self.args)))})"

    def __reduce__(self) -> tuple[Any, ...]:
        # `args` lacks the code, so the inherited way could not call the constructor again.
        return _restored, (type(self), self.args, self.__dict__.copy())


class MqttQueueFullError(MqttCodeError):
    """The outgoing queue is full, and neither waits nor drops: the message was not accepted.

    Args:
        text: Which bound was reached, and what to do.
    """

    def __init__(self, text: str = "The outgoing queue is full") -> None:
        super().__init__(MQTTErrorCode.MQTT_ERR_QUEUE_SIZE, text)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else super().__str__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class MqttDiscardedError(MqttError):
    """A message left the outgoing queue without being sent. `delivery` is "not_sent".

    Args:
        text: What happened.
        outcome: The value of the attribute.

    Attributes:
        outcome: Why: "expired", "replaced" by a newer one to its topic, or "dropped" for lack of
            capacity.
    """

    def __init__(
        self, text: str = "", outcome: Literal["expired", "replaced", "dropped"] = "dropped"
    ) -> None:
        super().__init__(text)
        self.outcome = outcome


class MqttQuarantinedError(MqttError):
    """A message will not get through, and is kept in the quarantine of the client's `Outbox`.

    The text says why. `ferromqtt outbox` lists such messages, sends them again, or drops them.
    """


class MqttKeptError(MqttError):
    """The client was left before the message ended: its `Outbox` keeps it.

    The next client with this outbox sends it.
    """


class MqttConnectError(MqttCodeError):
    """The server refused the connection.

    Args:
        rc: The Reason Code, or the return code of a version before 5.0.
    """

    def __init__(self, rc: int | ReasonCode) -> None:
        if not isinstance(rc, int):
            super().__init__(rc)
            return
        text = _CONNECT_RC_STRINGS.get(rc)
        super().__init__(rc, f"Connection refused: {text}" if text else "Connection refused")


class MqttReentrantError(MqttError):
    """The client is entered already. It can be entered again after it was left."""


class MqttOverflowError(MqttError):
    """The queue of a subscription was full, and takes nothing more (`overflow="fail"`).

    All messages before the gap are taken. `SubscriptionMessages.take_lost` lets the queue go on
    behind it.

    Args:
        lost: How many messages are lost.

    Attributes:
        lost: As the parameter.
    """

    def __init__(self, lost: int) -> None:
        super().__init__(
            f"The queue of the subscription was full: {lost} messages are lost. Call take_lost() "
            "to go on behind them, or give the subscription a larger maxsize or maxbytes, or "
            "another overflow"
        )
        self.lost = lost

    def __reduce__(self) -> tuple[Any, ...]:
        # `args` has the text, so the inherited way could not call the constructor again.
        return type(self), (self.lost,), self.__dict__.copy()


class PayloadError(ValueError):
    """A codec can make no payload of a value, or no value of a payload.

    Its text has neither of them. What the codec has raised is the `__cause__`, whose text may.

    It is no `MqttError`, since the connection is well. A call that publishes raises it before
    anything is sent. Of a received message it is the `error`, and reading the `value` raises it.

    Args:
        text: What happened.
        topic: As the attribute.
        codec: As the attribute.

    Attributes:
        topic: The topic of the message.
        codec: The name of the codec: of the module, of its class, or as `json_codec(Reading)`.
    """

    def __init__(self, text: str, *, topic: str, codec: str) -> None:
        super().__init__(text)
        self.topic = topic
        self.codec = codec

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), str(self), self.topic, self.codec)


def _remade(kind: type[PayloadError], text: str, topic: str, codec: str) -> PayloadError:
    return kind(text, topic=topic, codec=codec)


_CONNECT_RC_STRINGS: dict[int, str] = {
    1: "Incorrect protocol version",
    2: "Invalid client identifier",
    3: "Server unavailable",
    4: "Bad username or password",
    5: "Not authorised",
}


def _restored(
    kind: type[MqttCodeError], args: tuple[object, ...], state: dict[str, object]
) -> MqttCodeError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error
