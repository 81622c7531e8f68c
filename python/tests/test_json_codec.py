"""`json_codec`: JSON to dataclasses and back."""

from __future__ import annotations

import copy
import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any

import pytest

from ferromqtt import json_codec


@dataclass
class Battery:
    """One that is nested."""

    percent: int
    charging: bool = False


@dataclass
class Reading:
    """One with fields of every kind."""

    room: str
    celsius: float
    battery: Battery | None = None
    samples: list[float] = field(default_factory=list)
    tags: dict[str, str | None] = field(default_factory=dict)
    children: list[Reading] = field(default_factory=list)
    anything: Any = None
    computed: str = field(init=False, default="here")


FULL = Reading(
    "hall",
    21.5,
    Battery(80, charging=True),
    [1.0, 2.5],
    {"a": "b", "c": None},
    [Reading("niche", 20.0)],
    {"free": [1, "x", None]},
)


def test_values_come_back_as_they_were() -> None:
    codec = json_codec(Reading)
    assert codec.decode(codec.encode(FULL)) == FULL
    assert json_codec(list[Reading]).decode(b'[{"room": "a", "celsius": 1}]') == [Reading("a", 1.0)]
    for kind, value, payload in (
        (int, 5, b"5"),
        (float, 0.5, b"0.5"),
        (str, "é", '"é"'.encode()),
        (bool, True, b"true"),
        (dict[str, int], {"a": 1}, b'{"a":1}'),
    ):
        one: Any = json_codec(kind)  # type: ignore[arg-type]
        assert one.encode(value) == payload
        assert one.decode(payload) == value


def test_defaults_may_be_missing_and_unknown_names_are_passed_over() -> None:
    codec = json_codec(Reading)
    found = codec.decode(b'{"room": "a", "celsius": 2, "unknown": 1, "computed": "there"}')
    assert found == Reading("a", 2.0)
    assert type(found.celsius) is float
    assert found.computed == "here"
    assert b"computed" not in codec.encode(found)
    optional: Any = json_codec(Battery | None)  # type: ignore[arg-type]
    assert (optional.decode(b"null"), optional.encode(None)) == (None, b"null")


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"[1]", "Reading must be dict, not list"),
        (b'{"celsius": 1}', "Reading.room is missing"),
        (b'{"room": 5, "celsius": 1}', "Reading.room must be str, not int"),
        (b'{"room": "a", "celsius": "secret"}', "Reading.celsius must be float, not str"),
        (b'{"room": "a", "celsius": true}', "Reading.celsius must be float, not bool"),
        (b'{"room": "a", "celsius": NaN}', "NaN is no JSON"),
        (b'{"room": "a", "celsius": 1e400}', "Reading.celsius must be finite"),
        (b'{"room": "a", "celsius": null}', "Reading.celsius must be float, not NoneType"),
        (
            b'{"room": "a", "celsius": 1, "battery": {"percent": 1.5}}',
            "Battery.percent must be int, not float",
        ),
        (
            b'{"room": "a", "celsius": 1, "battery": {"percent": true}}',
            "Battery.percent must be int, not bool",
        ),
        (
            b'{"room": "a", "celsius": 1, "samples": [1, "x"]}',
            r"Reading.samples\[...\] must be float, not str",
        ),
        (b'{"room": "a", "celsius": 1, "tags": []}', "Reading.tags must be dict, not list"),
    ],
)
def test_a_payload_of_another_shape_is_refused_by_names_and_types(
    payload: bytes, text: str
) -> None:
    with pytest.raises(ValueError, match=text) as raised:
        json_codec(Reading).decode(payload)
    assert "secret" not in str(raised.value)


def test_a_value_of_another_shape_is_not_sent() -> None:
    codec = json_codec(Reading)
    for changed, text in (
        ({"celsius": "hot"}, "Reading.celsius must be float, not str"),
        ({"celsius": float("nan")}, "Reading.celsius must be finite"),
        ({"celsius": 10**400}, "Reading.celsius must be finite"),
        ({"battery": {"percent": 1}}, "a value must be Battery, not dict"),
        ({"samples": (1.0,)}, "Reading.samples must be list, not tuple"),
        ({"tags": {1: "a"}}, "a key of Reading.tags must be str, not int"),
    ):
        wrong = copy.copy(FULL)
        for name, value in changed.items():
            setattr(wrong, name, value)
        with pytest.raises(ValueError, match=text):
            codec.encode(wrong)
    with pytest.raises(ValueError, match="a value must be Reading, not dict"):
        codec.encode({"room": "a"})  # type: ignore[arg-type]


class Plain:
    """No dataclass."""


def _of(annotation: object) -> type:
    return dataclasses.make_dataclass("Made", [("it", annotation)])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Plain, "json_codec has no form for Plain: it takes a dataclass"),
        (_of(bytes), "Made.it, which is bytes: it takes"),
        (_of(int | str), r"Made.it, which is int \| str: it takes"),
        (_of(list), "Made.it, which is list: it takes"),
        (_of(typing.List), "Made.it, which is typing.List: it takes"),  # noqa: UP006 - without arguments
        (_of(typing.Dict), "Made.it, which is typing.Dict: it takes"),  # noqa: UP006 - likewise
        (_of(dict[int, str]), r"Made.it, which is dict\[int, str\]: it takes"),
        (_of(list[set[int]]), r"Made.it\[...\], which is set\[int\]: it takes"),
        (_of("Nowhere"), "an annotation of Made cannot be read: name 'Nowhere'"),
        (_of(dataclasses.InitVar[int]), "Made has an InitVar"),
    ],
)
def test_a_type_that_is_not_simple_is_refused_when_the_codec_is_made(kind: type, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        json_codec(kind)


def test_a_codec_shows_its_type() -> None:
    assert repr(json_codec(Reading)) == "json_codec(Reading)"
    assert repr(json_codec(list[Reading])).endswith("Reading])")
