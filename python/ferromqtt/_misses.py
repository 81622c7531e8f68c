"""Why messages are not those that a test wants as JSON: the text of its failure.

What a test wants as bytes, the native module explains (`Broker.explain_missing`), in the same form.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ferromqtt._journal import messages_of, same_json

if TYPE_CHECKING:
    from ferromqtt._journal import JournalMessage, Wanted
    from ferromqtt._native import Broker

_CHART_LINES = 30
_NEAREST = 3
"""How many messages that nearly fit are shown."""
_MOST = 64
"""How many bytes of a payload, or characters of a value, are shown."""
_OTHER_TOPIC = 10
"""A message to another topic is further away than one that differs in all else."""


def explain_json(headline: str, wanted: Wanted, broker: Broker) -> str:
    """Return why no messages of the journal, or too few or many of them, are wanted."""
    fields = [f'topic "{_printable(wanted.topic)}"', f"json {_value(wanted.json, 200)}"]
    if wanted.qos is not None:
        fields.append(f"QoS {wanted.qos}")
    if wanted.retain is not None:
        fields.append(f"RETAIN {str(wanted.retain).lower()}")
    lines = [f"{headline}   {'  '.join(fields)}"]
    right = wanted.to_topic(broker)
    topics = {message.topic for message in right}
    # A filter of any other topic does not match one that begins with $.
    messages = messages_of(broker, "#") + [it for it in right if it.topic.startswith("$")]
    nearest = []
    for message in reversed(messages):  # of those that are equally near the newest
        elsewhere = message.topic not in topics
        differences = (["topic"] if elsewhere else []) + _differences(wanted, message)
        if differences:
            distance = len(differences) + _OTHER_TOPIC * elsewhere
            nearest.append((distance, message, ", ".join(differences)))
    nearest.sort(key=lambda entry: entry[0])
    lines += [
        f"  near:  {_printable(message.topic)}  {_payload(message.payload)}   {differences}   "
        f"+{message.at:.3f} s"
        for _, message, differences in nearest[:_NEAREST]
    ]
    lines += [f"  rule never fired: {rule}" for rule in broker.explain_unused_faults()]
    return "\n".join([*lines, broker.chart(_CHART_LINES)])


def _differences(wanted: Wanted, message: JournalMessage) -> list[str]:
    differences = []
    try:
        differs = _difference(message.json(), wanted.json, "")
    except ValueError:
        differs = "payload: is no JSON"
    except RecursionError:
        differs = "json: lies too deep to be compared"
    if differs is not None:
        differences.append(differs)
    if wanted.qos is not None and wanted.qos != message.qos:
        differences.append(f"QoS: {message.qos} is not {wanted.qos}")
    if wanted.retain is not None and wanted.retain != message.retain:
        is_, not_ = str(message.retain).lower(), str(wanted.retain).lower()
        differences.append(f"RETAIN: {is_} is not {not_}")
    return differences


def _difference(found: Any, wanted: Any, path: str) -> str | None:  # noqa: ANN401 - JSON
    """Return the first place at which two JSON values differ, with both values."""
    if same_json(found, wanted):
        return None
    inside = None
    if isinstance(found, dict) and isinstance(wanted, dict):
        inside = _in_objects(found, wanted, path)
    elif isinstance(found, list) and isinstance(wanted, list):
        inside = _in_arrays(found, wanted, path)
    return inside or f"{_printable(path) or 'json'}: {_value(found)} is not {_value(wanted)}"


def _in_objects(found: dict[str, Any], wanted: dict[str, Any], path: str) -> str | None:
    for key in [*wanted, *(key for key in found if key not in wanted)]:
        at = f"{path}.{key}" if path else str(key)
        if key not in found:
            return f"{_printable(at)}: is missing"
        if key not in wanted:
            return f"{_printable(at)}: {_value(found[key])} is not wanted"
        if (differs := _difference(found[key], wanted[key], at)) is not None:
            return differs
    return None


def _in_arrays(found: list[Any], wanted: list[Any], path: str) -> str | None:
    for number, (one, other) in enumerate(zip(found, wanted, strict=False)):
        if (differs := _difference(one, other, f"{path}[{number}]")) is not None:
            return differs
    if len(found) != len(wanted):
        return f"{_printable(path) or 'json'}: has {len(found)} items, not {len(wanted)}"
    return None


def _value(value: Any, most: int = _MOST) -> str:  # noqa: ANN401 - JSON
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # what a test wants may be no JSON at all
        text = repr(value)
    except RecursionError:
        text = "(a value that lies too deep to be shown)"
    return _cut(_printable(text), most)


def _payload(payload: bytes) -> str:
    text = payload[: _MOST + 1].decode(errors="backslashreplace")
    return _cut(_printable(text), _MOST)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _printable(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
