"""What the queue of a subscription knows beside its messages, for all that iterate over one."""

from __future__ import annotations

from ferromqtt import _errors
from ferromqtt._native import SubscriptionQueue
from ferromqtt.exceptions import MqttCodeError
from ferromqtt.reasons import ReasonCode

FAILED = 0x80
"""Reason Codes from here on refuse."""


class QueueAnswers:
    """What the server has answered about a subscription, and what its queue holds and has lost."""

    _queue: SubscriptionQueue

    def __len__(self) -> int:
        """How many messages wait to be taken."""
        return len(self._queue)

    def take_lost(self) -> int:
        """Return how many messages the full queue has lost since the last call.

        Under `overflow="fail"` that is known when all before the gap are taken, and the queue goes
        on behind it from here.
        """
        return self._queue.take_lost()

    def results(self) -> list[tuple[str, ReasonCode]]:
        """Return each filter with the server's answer: the granted QoS, or why it is refused.

        The QoS may be lower than what was asked for. Empty until the server has answered.
        """
        return _with_reasons(self._queue.answer)

    def granted_qos(self) -> int:
        """Return the QoS that the server has granted: the highest, when there are several filters.

        0 until the server has answered.
        """
        granted = (code for _, code in self._queue.answer if code < FAILED)
        return max(granted, default=0)

    def not_subscribed(self) -> list[tuple[str, ReasonCode]]:
        """Return the filters that the server has refused in a later connection, and why.

        No message comes for them any more. That is after the server has lost the session, after the
        client was entered again, and for a subscription that was opened before there was a
        connection.
        """
        return _with_reasons(self._queue.not_subscribed)


def _with_reasons(answers: list[tuple[str, int]]) -> list[tuple[str, ReasonCode]]:
    return [(topic, _errors.any_reason(code)) for topic, code in answers]


def refused(answers: list[tuple[str, int]], what: str = "the subscription") -> MqttCodeError:
    """Return the exception for filters that the server has refused."""
    reasons = _with_reasons(answers)
    error = MqttCodeError(reasons[0][1])
    for topic, reason in reasons:
        error.add_note(f"The server refused {what} to {topic!r}: {reason} (0x{reason.value:02X})")
    return error
