"""From what the core reports to the exceptions of the contract."""

from __future__ import annotations

from typing import Literal

from ferromqtt.exceptions import MqttCodeError, MqttConnectError, MqttError, MqttTimeoutError
from ferromqtt.reasons import MQTTErrorCode, PacketTypes, ReasonCode

Delivery = Literal["not_sent", "unknown"] | None

_COULD_NOT = {
    "publish": "Could not publish message",
    "subscribe": "Could not subscribe to topic",
    "unsubscribe": "Could not unsubscribe from topic",
}


def call_error(kind: str, code: int, text: str, delivery: Delivery, what: str) -> Exception:
    """Return the exception for a call that failed; `delivery` tells whether it may have arrived."""
    error = _call_error(kind, code, text, what)
    if isinstance(error, MqttError):
        error.delivery = delivery
    return error


def _call_error(kind: str, code: int, text: str, what: str) -> Exception:
    error: Exception
    match kind:
        case "value":
            error = ValueError(text)
        case "timeout":
            error = MqttTimeoutError()
        case "not_connected":
            error = MqttCodeError(MQTTErrorCode.MQTT_ERR_NO_CONN, _COULD_NOT[what])
        case "queue_full":
            error = MqttCodeError(MQTTErrorCode.MQTT_ERR_QUEUE_SIZE, _COULD_NOT["publish"])
        case "refused":
            error = MqttCodeError(_refusal(code), text or _COULD_NOT["publish"])
        case "limit":
            error = MqttCodeError(ReasonCode(PacketTypes.DISCONNECT, identifier=code), text)
        case "session_lost" | "not_sent":
            error = MqttError(text)
        case _:
            error = MqttError(text)
    return error


class Ended:
    """Why a connection ended, as each call is told that waited for an answer.

    There may be thousands of them, and the server's text may be long: they share it.
    """

    __slots__ = ("cause", "text")

    def __init__(self, kind: str, code: int, text: str) -> None:
        self.text: str | None = None
        self.cause: MqttCodeError | None = None
        if kind != "timeout":
            self.text = f"The connection ended before the answer came: {_told(kind, text)}"
            self.cause = disconnect_cause(kind, code, text)


def ended_error(ended: Ended, delivery: Delivery) -> MqttError:
    """Return the exception for a call that an end of the connection fails."""
    error = MqttTimeoutError() if ended.text is None else MqttError(ended.text)
    error.__cause__ = ended.cause
    error.delivery = delivery
    return error


def _refusal(code: int) -> ReasonCode:
    """Return the server's reason to refuse a message: of its acknowledgement, or of DISCONNECT."""
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code)
    except ValueError:
        return ReasonCode(PacketTypes.DISCONNECT, identifier=code)


def disconnect_cause(kind: str, code: int, text: str) -> MqttCodeError | None:
    """Return why a connection ended; None for an end that was asked for."""
    if kind == "closed" or (kind == "server" and code == 0):
        return None
    reason = ReasonCode(PacketTypes.DISCONNECT, identifier=code)
    cause = MqttCodeError(reason, "Unexpected disconnection")
    cause.add_note(_told(kind, text))
    return cause


def connect_error(kind: str, code: int, text: str) -> MqttError:
    """Return why no connection came about."""
    error: MqttError
    match kind:
        case "connack":
            error = MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=code))
            if text:
                error.add_note(text)
        case "timeout":
            error = MqttTimeoutError()
        case _:
            error = MqttError(f"The connection ended before it was accepted: {_told(kind, text)}")
            error.__cause__ = disconnect_cause(kind, code, text)
    return error


def _told(kind: str, text: str) -> str:
    match kind:
        case "keep_alive":
            return "nothing came from the server within the Keep Alive time"
        case "protocol":
            return f"the server broke the protocol: {text}"
        case "server" | "connack":
            return f"the server disconnected{f': {text}' if text else ''}"
        case "closed":
            return "the client disconnected"
        case _:
            return text
