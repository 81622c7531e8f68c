"""From what the core reports to the exceptions of the contract."""

from __future__ import annotations

from typing import Literal

from ferromqtt._native import CallFailure, End, EndKind, Phase
from ferromqtt._transport.attempt import connect_error as failure_to_connect
from ferromqtt._transport.attempt import hint_for
from ferromqtt.exceptions import (
    MqttCodeError,
    MqttConnectError,
    MqttDiscardedError,
    MqttError,
    MqttQueueFullError,
    MqttTimeoutError,
)
from ferromqtt.reasons import MQTTErrorCode, PacketTypes, ReasonCode

Delivery = Literal["not_sent", "refused", "unknown"] | None

_COULD_NOT = {
    "publish": "Could not publish message",
    "enqueue": "Could not enqueue message",
    "subscribe": "Could not subscribe to topic",
    "unsubscribe": "Could not unsubscribe from topic",
}

_DISCARDED: dict[str, Literal["expired", "replaced", "dropped"]] = {
    "expired": "expired",
    "replaced": "replaced",
    "dropped": "dropped",
}

_REMEDIES = {
    0x84: "give `protocol` another version",
    0x85: "give another `identifier`",
    0x86: "check `username` and `password`",
    0x87: "check `username` and `password`, and what the server allows this client",
    0x88: "try again later",
    0x89: "try again later",
    0x8C: "check the Authentication Method in `properties`",
    0x9F: "try again later, and less often",
}
"""What to do when the server refuses a connection with such a Reason Code."""


def call_error(kind: CallFailure, code: int, text: str, delivery: Delivery, what: str) -> Exception:
    """Return the exception for a call that failed; `delivery` tells whether it may have arrived."""
    error = _call_error(kind, code, text, what)
    if isinstance(error, MqttError):
        error.delivery = "refused" if kind == CallFailure.REFUSED else delivery
    return error


def _call_error(kind: CallFailure, code: int, text: str, what: str) -> Exception:
    error: Exception
    match kind:
        case CallFailure.ARGUMENT:
            error = ValueError(text)
        case CallFailure.TIMEOUT:
            error = MqttTimeoutError(f"Operation timed out: {text}")
        case CallFailure.NOT_CONNECTED:
            error = not_connected(_COULD_NOT[what])
        case CallFailure.QUEUE_FULL if what == "enqueue":
            remedy = "wait for receipts, raise its bounds, or choose another `overflow`"
            error = MqttQueueFullError(f"Could not enqueue message: {text} ({remedy})")
        case CallFailure.QUEUE_FULL:
            error = MqttCodeError(MQTTErrorCode.MQTT_ERR_QUEUE_SIZE, _COULD_NOT["publish"])
            error.add_note(f"{text}: wait for acknowledgements (max_queued_outgoing_messages)")
        case CallFailure.REFUSED:
            error = MqttCodeError(_refusal(code), text or _COULD_NOT["publish"])
            error.add_note(f"The server refused the message{f': {text}' if text else ''}")
        case CallFailure.LIMIT:
            error = MqttCodeError(ReasonCode(PacketTypes.DISCONNECT, identifier=code), text)
            error.add_note(f"Nothing was sent: {text}")
        case CallFailure.NOT_SENT if what in _DISCARDED:
            error = MqttDiscardedError(text, _DISCARDED[what])
        case _:  # SESSION_LOST, NOT_SENT
            error = MqttError(text)
    return error


class Ended:
    """Why a connection ended, as each call is told that waited for an answer.

    There may be thousands of them, and the server's text may be long: they share it.
    """

    __slots__ = ("address", "cause", "text", "timed_out")

    def __init__(self, end: End, address: str, lost_by: Exception | None) -> None:
        self.address = address
        self.timed_out = end.kind == EndKind.TIMEOUT
        self.text = f"The connection to {address} ended before the answer came: {told(end)}"
        self.cause = None if self.timed_out else end_cause(end, address, lost_by)


def ended_error(ended: Ended, delivery: Delivery) -> MqttError:
    """Return the exception for a call that an end of the connection fails."""
    error = MqttTimeoutError() if ended.timed_out else MqttError(ended.text)
    error.__cause__ = ended.cause
    error.delivery = delivery
    error.address = ended.address
    return error


def _refusal(code: int) -> ReasonCode:
    """Return the server's reason to refuse a message: of its acknowledgement, or of DISCONNECT."""
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code)
    except ValueError:
        return ReasonCode(PacketTypes.DISCONNECT, identifier=code)


def disconnect_cause(end: End, address: str, lost_by: Exception | None) -> MqttCodeError | None:
    """Return why a connection ended; None for an end that was asked for.

    Its code is aiomqtt's, for programs: 128 means that there is none. The note says what happened.
    """
    if end.kind == EndKind.CLOSED or (end.kind == EndKind.DISCONNECTED and end.code == 0):
        return None
    reason = ReasonCode(PacketTypes.DISCONNECT, identifier=end.code)
    cause = MqttCodeError(reason, "Unexpected disconnection")
    cause.address = address
    cause.add_note(f"{address}: {told(end)}")
    cause.__cause__ = lost_by
    return cause


def end_cause(end: End, address: str, lost_by: Exception | None) -> MqttError | None:
    """Return why a connection ended, or did not come about again; None if that was asked for."""
    if end.kind == EndKind.REFUSED:
        return connect_error(end, address, lost_by)
    return disconnect_cause(end, address, lost_by)


def event_cause(end: End, address: str, *, is_known: bool) -> MqttError | None:
    """Return the same for an event, of which a program knows no code of aiomqtt's."""
    if end.kind in (EndKind.CLOSED, EndKind.REFUSED, EndKind.DISCONNECTED):
        return end_cause(end, address, None)
    text = told(end, is_known=is_known)
    error = MqttTimeoutError(text) if end.kind == EndKind.TIMEOUT else MqttError(text)
    error.address = address
    return error


def not_connected(what: str) -> MqttCodeError:
    """Return the exception for what cannot be done without a connection."""
    return MqttCodeError(MQTTErrorCode.MQTT_ERR_NO_CONN, what)


def any_reason(code: int) -> ReasonCode:
    """Return a Reason Code by its number, whichever packet it came in."""
    for packet_type in (PacketTypes.SUBACK, PacketTypes.DISCONNECT):
        try:
            return ReasonCode(packet_type, identifier=code)
        except (KeyError, ValueError):
            continue
    return ReasonCode(PacketTypes.CONNACK, identifier=code)


def connect_error(end: End, address: str, lost_by: Exception | None) -> MqttError:
    """Return why the server has not accepted a connection."""
    error: MqttError
    match end.kind:
        case EndKind.REFUSED:
            reason = ReasonCode(PacketTypes.CONNACK, identifier=end.code)
            error = MqttConnectError(reason)
            remedy = _REMEDIES.get(end.code)
            said = f": {end.reason_string}" if end.reason_string else ""
            error.add_note(
                f"{address} refused the connection: {reason} (0x{end.code:02X}){said}"
                f"{f' ({remedy})' if remedy else ''}"
            )
        case EndKind.TIMEOUT:
            error = MqttTimeoutError(f"Operation timed out: no CONNACK from {address}")
        case EndKind.TRANSPORT if lost_by is not None:
            hint = hint_for(Phase.CONNECT, lost_by)
            return failure_to_connect(address, Phase.CONNECT, lost_by, hint=hint)
        case _:
            error = MqttError(
                f"The connection to {address} ended before it was accepted: {told(end)}"
            )
            # A code only where the standard has one for what happened.
            coded = end.kind in (
                EndKind.DISCONNECTED,
                EndKind.PROTOCOL_VIOLATION,
                EndKind.TOO_LARGE,
            )
            error.__cause__ = disconnect_cause(end, address, lost_by) if coded else lost_by
    error.phase = "connect"
    error.address = address
    return error


def told(end: End, *, is_known: bool = False) -> str:
    """Return what happened, with the server's own words.

    A server that `is_known` has accepted a connection before: the hints that the port may be a
    wrong one are left out.
    """
    if is_known and end.kind == EndKind.UNANSWERED:
        return end.text.partition(" (")[0]
    return f"{end.text}: {end.reason_string}" if end.reason_string else end.text
