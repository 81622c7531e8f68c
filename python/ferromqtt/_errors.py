"""From what the core reports to the exceptions of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ferromqtt._native import End, EndKind, Phase
from ferromqtt._transport.attempt import connect_error as failure_to_connect
from ferromqtt._transport.attempt import hint_for
from ferromqtt.exceptions import (
    MqttCodeError,
    MqttConnectError,
    MqttDiscardedError,
    MqttError,
    MqttKeptError,
    MqttQuarantinedError,
    MqttQueueFullError,
    MqttTimeoutError,
)
from ferromqtt.reasons import MQTTErrorCode, PacketTypes, ReasonCode

Delivery = Literal["not_sent", "refused", "unknown"]

_COULD_NOT = {
    "publish": "Could not publish message",
    "enqueue": "Could not enqueue message",
    "subscribe": "Could not subscribe to topic",
    "unsubscribe": "Could not unsubscribe from topic",
    "authenticate": "Could not authenticate again",
}


def _discarded(outcome: Literal["expired", "replaced"]) -> Callable[[str], MqttError]:
    return lambda text: MqttDiscardedError(text, outcome)


_OF_QUEUE: dict[str, Callable[[str], MqttError]] = {
    "dropped": MqttDiscardedError,
    "expired": _discarded("expired"),
    "kept": MqttKeptError,
    "quarantined": MqttQuarantinedError,
    "replaced": _discarded("replaced"),
    "store_busy": MqttQueueFullError,
}
"""How a message ends that waits in the outgoing queue, or in an outbox."""


def call_error(kind: str, code: int, text: str, delivery: Delivery, what: str) -> Exception:
    """Return the exception for a call that failed.

    The native module names the kinds; `delivery` says whether it may have arrived.
    """
    error: Exception
    match kind:
        case "invalid" | "no_requests":  # the latter also of a responder that has waited
            return ValueError(text)
        case "timed_out":
            error = MqttTimeoutError(f"Operation timed out: {text}")
        case "disconnected" | "draining":
            error = draining() if kind == "draining" else not_connected(_COULD_NOT[what])
        case "queue_full" if what == "enqueue":
            remedy = "wait for receipts, raise its bounds, or choose another `overflow`"
            error = MqttQueueFullError(f"Could not enqueue message: {text}; {remedy}")
        case "queue_full":
            error = MqttCodeError(MQTTErrorCode.MQTT_ERR_QUEUE_SIZE, _COULD_NOT[what])
            error.add_note(f"{text}: wait for acknowledgements (max_queued_outgoing_messages)")
        case "refused":
            error = MqttCodeError(_refusal(code), text or _COULD_NOT[what])
            error.add_note(f"The server refused the message{f': {text}' if text else ''}")
            delivery = "refused"
        case "no_responder" | "unanswerable" | "no_subscription":
            error = _no_response(kind, code, text)
            delivery = "refused" if kind == "no_responder" else delivery
        case "limit" | "unreleased":
            packet = PacketTypes.DISCONNECT if kind == "limit" else PacketTypes.PUBCOMP
            error = MqttCodeError(ReasonCode(packet, identifier=code), text)
            is_sent = delivery == "unknown"  # in the first case by an earlier connection
            error.add_note(_sentence(text) if is_sent else f"Nothing was sent: {text}")
        case kind if kind in _OF_QUEUE:
            error = _OF_QUEUE[kind](_sentence(text))
        case _:  # discarded, or the session was lost
            error = MqttError(_sentence(text))
    error.delivery = delivery
    return error


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


class Ended:
    """What the exceptions of all calls share that one end of a connection fails.

    There may be thousands of them, and the server's text may be long.
    """

    __slots__ = ("address", "cause", "not_sent_text", "text", "timed_out")

    def __init__(self, end: End, lost_by: Exception | None) -> None:
        self.address = end.address
        self.timed_out = end.kind == EndKind.TIMEOUT
        ended = f"The connection to {end.address} ended before"
        self.text = f"{ended} the answer came: {end.text}"
        self.not_sent_text = f"{ended} the packet was sent: {end.text}"
        self.cause = None if self.timed_out else end_cause(end, lost_by)


def ended_error(ended: Ended, delivery: Delivery) -> MqttError:
    """Return the exception for a call that an end of the connection fails."""
    text = ended.not_sent_text if delivery == "not_sent" else ended.text
    error = MqttTimeoutError() if ended.timed_out else MqttError(text)
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


def disconnect_cause(end: End, lost_by: Exception | None) -> MqttCodeError | None:
    """Return why a connection ended; None for an end that was asked for.

    Its code is aiomqtt's, for programs: 128 means that there is none. The note says what happened.
    """
    if end.kind == EndKind.CLOSED or (end.kind == EndKind.DISCONNECTED and end.code == 0):
        return None
    reason = ReasonCode(PacketTypes.DISCONNECT, identifier=end.code)
    cause = MqttCodeError(reason, "Unexpected disconnection")
    cause.address = end.address
    cause.add_note(f"{end.address}: {end.text}")
    cause.__cause__ = lost_by
    return cause


def end_cause(end: End, lost_by: Exception | None) -> MqttError | None:
    """Return why a connection ended, or did not come about again; None if that was asked for."""
    if end.kind == EndKind.REFUSED:
        return connect_error(end, lost_by)
    return disconnect_cause(end, lost_by)


def event_cause(end: End) -> MqttError | None:
    """Return the same for an event, of which a program knows no code of aiomqtt's."""
    if end.kind in (EndKind.CLOSED, EndKind.REFUSED, EndKind.DISCONNECTED):
        return end_cause(end, None)
    error = MqttTimeoutError(end.text) if end.kind == EndKind.TIMEOUT else MqttError(end.text)
    error.address = end.address
    return error


def not_connected(what: str) -> MqttCodeError:
    """Return the exception for what cannot be done without a connection."""
    return MqttCodeError(MQTTErrorCode.MQTT_ERR_NO_CONN, what)


def draining() -> MqttError:
    """Return the exception for what a client does not do that is being drained, or was."""
    error = MqttError(
        "The client was drained, and accepts no more messages: publish before that, or enter it "
        "again."
    )
    error.delivery = "not_sent"
    return error


def any_reason(code: int) -> ReasonCode:
    """Return a Reason Code by its number, whichever packet it came in."""
    for packet_type in (PacketTypes.SUBACK, PacketTypes.DISCONNECT):
        try:
            return ReasonCode(packet_type, identifier=code)
        except (KeyError, ValueError):
            continue
    return ReasonCode(PacketTypes.CONNACK, identifier=code)


def _no_response(kind: str, code: int, text: str) -> MqttCodeError:
    """Return the exception for a request that nobody can answer."""
    if kind == "no_responder":
        error = MqttCodeError(ReasonCode(PacketTypes.PUBACK, identifier=code))
        error.add_note("Nobody is there to respond: no client has subscribed to that topic")
    else:
        error = MqttCodeError(any_reason(code))  # that of a limit is none of SUBACK
        if kind == "unanswerable":
            error.add_note(f"The server lets this client receive no response: {text}")
        else:  # a limit forbids to ask it for the subscription
            error.add_note(f"This client can receive no response: {text}")
    return error


def connect_error(end: End, lost_by: Exception | None) -> MqttError:
    """Return why the server has not accepted a connection."""
    error: MqttError
    address = end.address
    match end.kind:
        case EndKind.REFUSED:
            reason = ReasonCode(PacketTypes.CONNACK, identifier=end.code)
            error = MqttConnectError(reason)
            # The engine's text says the same of "the server", and goes on with its own words.
            said = end.text.removeprefix("the server ")
            error.add_note(f"{address} {said}{f' ({end.remedy})' if end.remedy else ''}")
        case EndKind.TIMEOUT:
            error = MqttTimeoutError(f"Operation timed out: no CONNACK from {address}")
        case EndKind.TRANSPORT if lost_by is not None:
            hint = hint_for(Phase.CONNECT, lost_by)
            return failure_to_connect(address, Phase.CONNECT, lost_by, hint=hint)
        case _:
            error = MqttError(
                f"The connection to {address} ended before it was accepted: {end.text}"
            )
            # A code only where the standard has one for what happened.
            coded = end.kind in (
                EndKind.DISCONNECTED,
                EndKind.PROTOCOL_VIOLATION,
                EndKind.TOO_LARGE,
            )
            error.__cause__ = disconnect_cause(end, lost_by) if coded else lost_by
    error.phase = "connect"
    error.address = address
    return error
