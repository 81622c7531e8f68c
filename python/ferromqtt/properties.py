"""Properties of MQTT 5.0 and options of a subscription, with the attribute names that paho gives.

The core exchanges properties as dictionaries under the standard's names; `to_native` and
`from_native` are the way there and back.
"""
# ruff: noqa: N802, N803 - paho's names: programs written for it read and pass them

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from ferromqtt._checks import letters, nearest
from ferromqtt._native import MAX_BYTES, check_text, property_table
from ferromqtt.reasons import PacketTypes, packet_name
from ferromqtt.types import PropertiesLike


class MQTTException(ValueError):  # noqa: N818 - paho's name
    """A property that the packet cannot have, or a value that the property cannot have."""


# What a property may hold: each of these returns the value as the core takes it, or raises a
# ValueError, or a TypeError, that completes the sentence "Property NAME ...".


def _flag(value: object) -> bool:
    if not isinstance(value, int) or value not in (0, 1):
        raise ValueError("value must be 0 or 1")
    return bool(value)


def _integer(low: int, high: int) -> Callable[[object], int]:
    def checked(value: object) -> int:
        if not isinstance(value, int):
            raise TypeError(f"value must be int, not {type(value).__name__}")
        if not low <= value <= high:
            raise ValueError(f"value must be in the range {low}-{high}")
        return int(value)

    return checked


def _text(value: object) -> str:
    if isinstance(value, bytes):  # paho takes encoded strings too
        value = value.decode()
    if not isinstance(value, str):
        raise TypeError(f"value must be a str, not {type(value).__name__}")
    check_text("value", value)
    return value


def _binary(value: object) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"value must be bytes, not {type(value).__name__}")
    value = bytes(value)
    if len(value) > MAX_BYTES:
        raise ValueError(f"value must be at most {MAX_BYTES} bytes")
    return value


def _pair(value: object) -> tuple[str, str]:
    match value:
        case (name, text):
            return _text(name), _text(text)
    raise TypeError("value must be a pair of strings, or a list of such pairs")


class _Property(NamedTuple):
    """One row of section 2.2.2.2."""

    identifier: int
    name: str
    native: str
    value_of: Callable[[object], object]
    repeats: bool
    packets: tuple[int, ...]
    attribute: str


def _rows() -> Iterator[_Property]:
    checks = {"flag": _flag, "text": _text, "binary": _binary, "pair": _pair}
    for identifier, name, native, kind, low, high, repeats, packets in property_table():
        value_of = checks.get(kind) or _integer(low, high)
        where = tuple(packet or PacketTypes.WILLMESSAGE for packet in packets)
        yield _Property(identifier, name, native, value_of, repeats, where, name.replace(" ", ""))


_ROWS: Final = tuple(_rows())
_BY_ATTRIBUTE: Final = {row.attribute: row for row in _ROWS}
_BY_NATIVE: Final = {row.native: row for row in _ROWS}
# "Content Type", "ContentType" and "content_type" without what tells them apart.
_BY_LETTERS: Final = {row.attribute.lower(): row for row in _ROWS}
_SECRETS: Final = ("AuthenticationData", "CorrelationData")


def _unknown(name: str) -> MQTTException:
    meant = nearest(name, {spelled: row.attribute for spelled, row in _BY_LETTERS.items()})
    question = f": did you mean {meant}?" if meant else "."
    names = ", ".join(_BY_ATTRIBUTE)
    return MQTTException(
        f"Property name must be one of MQTT 5.0's, not {name!r}{question} They are {names}."
    )


class Properties:
    """The properties of one packet, as attributes: `properties.ContentType = "text/plain"`.

    A property that is not set has no attribute. `UserProperty` and `SubscriptionIdentifier` are
    lists, and assigning to them adds to the list.

    Two objects are equal when they are for the same packet and have the same properties. They can
    be keys of dictionaries and members of sets, as those of paho can; the hash depends on the
    packet alone, since properties may change.

    Args:
        packetType: The packet, one of `PacketTypes`; `PacketTypes.WILLMESSAGE` for a will.

    Attributes:
        packetType: The packet.
        names: The properties of the standard and their identifiers.

    Raises:
        MQTTException: On assigning, when the packet cannot have the property, or the property
            cannot have the value. It is a ValueError.
    """

    packetType: int  # noqa: N815

    names: ClassVar[Mapping[str, int]] = MappingProxyType(
        {row.name: row.identifier for row in _ROWS}
    )

    def __init__(self, packetType: int) -> None:
        self.packetType = packetType

    def __setattr__(self, name: str, value: object) -> None:
        name = name.replace(" ", "")
        if name != "packetType":
            row = _BY_ATTRIBUTE.get(name)
            if row is None:
                raise _unknown(name)
            if self.packetType not in row.packets:
                packet = packet_name(self.packetType)
                raise MQTTException(f"Property {name} does not apply to packet type {packet}")
            _checked(row, value)
            if row.repeats:
                value = [*getattr(self, name, []), *_each(value)]
        object.__setattr__(self, name, value)

    if TYPE_CHECKING:  # the properties that are set

        def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401

    def isEmpty(self) -> bool:
        """Tell whether no property is set."""
        return not self._set()

    def clear(self) -> None:
        """Take all properties away."""
        for name in self._set():
            delattr(self, name)

    def json(self) -> dict[str, Any]:
        """Return the properties that are set; binary correlation data in hexadecimal digits."""
        properties = self._set()
        data = properties.get("CorrelationData")
        if isinstance(data, bytes):
            properties["CorrelationData"] = data.hex()
        return properties

    def __str__(self) -> str:
        shown = self._set()
        for secret in _SECRETS:
            if secret in shown:
                shown[secret] = "(not shown)"
        return f"[{', '.join(f'{name} : {value}' for name, value in shown.items())}]"

    def __repr__(self) -> str:
        is_will = self.packetType == PacketTypes.WILLMESSAGE
        packet = "WILLMESSAGE" if is_will else packet_name(self.packetType).upper()
        shown = [f"PacketTypes.{packet}"]
        for name, value in self._set().items():
            text = "(not shown)" if name in _SECRETS else repr(value)
            shown.append(f"{name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Properties):
            return NotImplemented
        return self.packetType == other.packetType and self._set() == other._set()

    def __hash__(self) -> int:
        return hash(self.packetType)

    def _set(self) -> dict[str, Any]:
        given = vars(self)
        return {name: given[name] for name in _BY_ATTRIBUTE if name in given}


def to_native(
    properties: PropertiesLike | None, packet_type: int, *, from_server: bool = False
) -> dict[str, object] | None:
    """Return what the core takes for `properties` in a packet that a client sends, or a server.

    Any object will do that has the attributes of `Properties`, so it may come from another library;
    and a dictionary whose keys are their names, as attributes (`ContentType`), in words
    (`Content Type`) or in snake case (`content_type`).

    Raises:
        ValueError: The packet cannot have one of them, one cannot have its value, or there is no
            property of that name.
    """
    if properties is None:
        return None
    native: dict[str, object] = {}
    for row, value in _given(properties):
        attribute = row.attribute
        if packet_type not in row.packets:
            packet = packet_name(packet_type)
            raise MQTTException(f"Property {attribute} does not apply to packet type {packet}")
        if from_server:
            native[row.native] = _checked(row, value)
            continue
        if packet_type == PacketTypes.PUBLISH and attribute == "SubscriptionIdentifier":
            # A received message may have it, and then be published again as it is. (MQTT-3.3.4-6)
            raise MQTTException(f"Property {attribute} must not be given to publish: leave it out")
        checked = _checked(row, value)
        if attribute == "SubscriptionIdentifier" and len(_each(value)) > 1:
            raise MQTTException(f"Property {attribute} must be given once for a subscribe call")
        native[row.native] = checked
    return native


def has_any(properties: PropertiesLike) -> bool:
    """Tell whether one is set, whether or not a packet can have it."""
    if isinstance(properties, Mapping):
        return bool(properties)
    return any(getattr(properties, attribute, None) is not None for attribute in _BY_ATTRIBUTE)


def _given(properties: PropertiesLike) -> list[tuple[_Property, object]]:
    """Return the properties that are set."""
    if type(properties) is Properties:  # which refuses other names itself
        given = vars(properties).items()
        return [(_BY_ATTRIBUTE[name], value) for name, value in given if name in _BY_ATTRIBUTE]
    if isinstance(properties, Mapping):
        found = {_row_of(name).attribute: value for name, value in properties.items()}
    else:
        _check_attributes(properties)
        found = {name: getattr(properties, name, None) for name in _BY_ATTRIBUTE}
    return [
        (row, found[name]) for name, row in _BY_ATTRIBUTE.items() if found.get(name) is not None
    ]


def _row_of(name: object) -> _Property:
    if not isinstance(name, str):
        raise MQTTException(f"Property name must be str, not {type(name).__name__}")
    row = _BY_LETTERS.get(letters(name))
    if row is None or name not in (row.attribute, row.name, row.name.replace(" ", "_").lower()):
        raise _unknown(name)
    return row


def _check_attributes(properties: object) -> None:
    """Refuse an object with an attribute that looks like a property and would be ignored.

    Other attributes may be there: those of paho's class are in lower case, such as `types`.
    """
    if isinstance(properties, str | bytes | int | float | list | tuple | set):
        kind = type(properties).__name__
        raise TypeError(f"properties must be Properties or a dict, not {kind}")
    for name in getattr(properties, "__dict__", ()):
        is_misspelled = name not in _BY_ATTRIBUTE and letters(name) in _BY_LETTERS
        looks_like_one = name[:1].isupper() and name.isalpha() and not name.isupper()
        if is_misspelled or (looks_like_one and name not in _BY_ATTRIBUTE):
            raise _unknown(name)


def from_native(native: Mapping[str, object], packet_type: int) -> Properties:
    """Return the properties of a packet that the core has read."""
    properties = Properties(packet_type)
    attributes = vars(properties)  # past the checks, which the core has made
    for name, value in native.items():
        row = _BY_NATIVE[name]
        attributes[row.attribute] = int(value) if isinstance(value, bool) else value
    return properties


def _each(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def row_of_keyword(name: str) -> _Property:
    """Return the property that a call takes as the keyword `name`."""
    return _BY_LETTERS[letters("user_property" if name == "user_properties" else name)]


def keyword_value(row: _Property, name: str, value: object) -> object:
    """Return the value of the keyword `name` as the core takes it.

    Raises:
        TypeError: It has the wrong type.
        ValueError: The property cannot have it.
    """
    try:
        return _value(row, value)
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} {_problem(error).removeprefix('value ')}.") from None


def _checked(row: _Property, value: object) -> object:
    """Return `value` as the core takes it."""
    try:
        return _value(row, value)
    except (ValueError, TypeError) as error:
        raise MQTTException(f"Property {row.attribute} {_problem(error)}") from None


def _value(row: _Property, value: object) -> object:
    return [row.value_of(each) for each in _each(value)] if row.repeats else row.value_of(value)


def _problem(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "value must be valid UTF-8"  # not its own text: the value may be secret
    return str(error).removesuffix(".")


class SubscribeOptions:
    """What MQTT 5.0 lets a subscription ask for.

    Args:
        qos: The highest QoS at which the server is to send.
        noLocal: Whether the client's own messages are to be left out.
        retainAsPublished: Whether the retain flag is to be kept as it was published.
        retainHandling: When retained messages are to be sent: one of the constants here.

    Attributes:
        QoS: As the argument `qos`.
        noLocal: As the argument.
        retainAsPublished: As the argument.
        retainHandling: As the argument.

    Raises:
        ValueError: `qos` or `retainHandling` is not 0, 1 or 2.
    """

    __slots__ = ("QoS", "noLocal", "retainAsPublished", "retainHandling")

    RETAIN_SEND_ON_SUBSCRIBE: Final = 0
    RETAIN_SEND_IF_NEW_SUB: Final = 1
    RETAIN_DO_NOT_SEND: Final = 2

    def __init__(
        self,
        qos: int = 0,
        noLocal: bool = False,
        retainAsPublished: bool = False,
        retainHandling: int = RETAIN_SEND_ON_SUBSCRIBE,
    ) -> None:
        if retainHandling not in (0, 1, 2):
            raise ValueError(f"Retain handling should be 0, 1 or 2, not {retainHandling}")
        if qos not in (0, 1, 2):
            raise ValueError(f"QoS should be 0, 1 or 2, not {qos}")
        self.QoS = qos
        self.noLocal = noLocal
        self.retainAsPublished = retainAsPublished
        self.retainHandling = retainHandling

    def json(self) -> dict[str, int]:
        """Return the options by their names."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name}={value}" for name, value in self.json().items()) + "}"
