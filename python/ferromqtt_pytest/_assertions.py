"""Assertions on what a broker has accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ferromqtt._faults import UNSET

if TYPE_CHECKING:
    from ferromqtt.testing import TestBroker
    from ferromqtt_pytest._remote import RemoteBroker


def assert_published(
    broker: TestBroker | RemoteBroker,
    topic: str,
    payload: str | bytes | None = None,
    *,
    json: Any = UNSET,  # noqa: ANN401 - whatever JSON holds
    qos: int | None = None,
    retain: bool | None = None,
    times: int = 1,
) -> None:
    """Assert that the broker has accepted exactly so many messages as described, so far.

    ```python
    assert_published(mqtt_broker, "site/7/level", json={"level": 28.4}, qos=1)
    ```

    A message that is still on its way is not accepted yet: await the publish, or
    `broker.wait_for(...)`, or `broker.idle()`. With `times=0` the broker has to be idle, or what
    must not come could come a moment later. It is `TestBroker.check_published`, for pytest.

    Args:
        broker: The fixture `mqtt_broker`, or another `TestBroker`. A real broker cannot tell: with
            `--mqtt-broker` the test is skipped here.
        topic: Topic Filter of the messages.
        payload: Their payload, if it matters; a str stands for its UTF-8.
        json: What their payload holds as JSON, if it matters.
        qos: The QoS that they were published with, if it matters.
        retain: The retain flag that they were published with, if it matters.
        times: How many, exactly.

    Raises:
        AssertionError: It has not. The text names the messages that come nearest, the rules for
            faults that never fired, and what happened last.
        ValueError: An argument is wrong.

    """
    __tracebackhide__ = True
    broker.check_published(topic, payload, json=json, qos=qos, retain=retain, times=times)
