"""`json_codec`: JSON to dataclasses and back, checked by their annotations."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Callable
from typing import Any, Generic, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ferromqtt.codecs import MismatchError

T = TypeVar("T")
_Convert = Callable[[Any], Any]


class JsonCodec(Generic[T]):
    """JSON of values of one type: from `json_codec`."""

    def __init__(self, kind: type[T]) -> None:
        self._name = f"json_codec({_name(kind)})"
        self._form = _Forms().of(kind, _name(kind))

    def encode(self, value: T, /) -> bytes:
        """Return the JSON of a value.

        Raises:
            MismatchError: A value is of another type than its annotation says, or NaN or infinite.
        """
        plain = self._form.to_json(value)
        return json.dumps(
            plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        ).encode()

    def decode(self, payload: bytes, /) -> T:
        """Return the value in JSON.

        Raises:
            MismatchError: It is not of this type.
            ValueError: It is no JSON.
        """
        value: T = self._form.from_json(json.loads(payload, parse_constant=_no_constant))
        return value

    def __repr__(self) -> str:
        return self._name


def json_codec(kind: type[T], /) -> JsonCodec[T]:
    """Return a codec for JSON of one type, such as a dataclass.

    ```python
    @dataclass
    class Reading:
        celsius: float
        battery: int | None = None

    async with client.subscription("room/+/temp", codec=json_codec(Reading)) as readings:
        async for message in readings:
            print(message.value.celsius)
    ```

    A dataclass is an object with its fields. Fields with a default may be missing; names that are
    no field are passed over. Fields with `init=False` are neither sent nor read. Both ways, values
    are checked by the annotations; an int will do for a float.

    Args:
        kind: A dataclass, `str`, `int`, `float`, `bool`, `None` or `Any`; `list[...]` or
            `dict[str, ...]` of one of these; or one of these `| None`. A dataclass may have fields
            of all of them, and of its own type.

    Raises:
        TypeError: An annotation is none of these. For other types use a codec of a library, such as
            pydantic or msgspec: docs/codecs.md.
    """
    return JsonCodec(kind)


@dataclasses.dataclass(slots=True)
class _Form:
    """How values of one type are made from what `json` has, and to it."""

    from_json: _Convert
    to_json: _Convert


class _Forms:
    """The forms of dataclasses that are being made, which may be of their own type."""

    def __init__(self) -> None:
        self._of_class: dict[type, _Form] = {}

    def of(self, kind: Any, where: str) -> _Form:  # noqa: ANN401 - an annotation
        simple = _simple(kind, where)
        if simple is not None:
            return _Form(simple, simple)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return self._of_dataclass(kind)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            others = [each for each in arguments if each is not type(None)]
            if len(others) == 1:
                return _optional(self.of(others[0], where))
        elif origin is list and len(arguments) == 1:
            return _list(where, self.of(arguments[0], f"{where}[...]"))
        elif origin is dict and len(arguments) > 1 and arguments[0] is str:
            return _dict(where, self.of(arguments[1], f"{where}[...]"))
        is_named = where == _name(kind)
        raise TypeError(
            f"json_codec has no form for {where}{'' if is_named else f', which is {_name(kind)}'}: "
            "it takes a dataclass, str, int, float, bool, None, Any, list[...], dict[str, ...], or "
            "one of these | None. For other types use a codec of a library"
        )

    def _of_dataclass(self, kind: type) -> _Form:
        if kind in self._of_class:
            return self._of_class[kind]
        form = self._of_class[kind] = _Form(_unmade, _unmade)
        try:
            hints = get_type_hints(kind)
        except Exception as error:  # whatever an annotation that is a text evaluates to
            raise TypeError(
                f"json_codec: an annotation of {kind.__name__} cannot be read: {error}. Define the "
                "classes that it names at the top of a module, not in a function"
            ) from error
        if any(isinstance(it, dataclasses.InitVar) for it in hints.values()):
            raise TypeError(f"json_codec: {kind.__name__} has an InitVar, which no JSON can hold")
        fields = [
            (it.name, self.of(hints[it.name], f"{kind.__name__}.{it.name}"), _is_required(it))
            for it in dataclasses.fields(kind)
            if it.init
        ]
        form.from_json = lambda value: _to_object(kind, fields, value)
        form.to_json = lambda value: _to_dict(kind, fields, value)
        return form


_Fields = list[tuple[str, _Form, bool]]


def _to_object(kind: type, fields: _Fields, value: object) -> object:
    found = _checked(kind.__name__, dict, value)
    missing = next((name for name, _, required in fields if required and name not in found), None)
    if missing is not None:
        raise MismatchError(f"{kind.__name__}.{missing} is missing")
    return kind(**{name: form.from_json(found[name]) for name, form, _ in fields if name in found})


def _to_dict(kind: type, fields: _Fields, value: object) -> dict[str, object]:
    if not isinstance(value, kind):
        raise _wrong("a value", kind, value)
    return {name: form.to_json(getattr(value, name)) for name, form, _ in fields}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _unmade(value: object) -> object:
    raise NotImplementedError  # until `_of_dataclass` has replaced it


def _simple(kind: object, where: str) -> _Convert | None:
    """Return what checks a value that JSON has itself; None for another type."""
    if kind is Any:
        return lambda value: value
    if kind is float:
        return lambda value: _float(where, value)
    if kind is None or kind in (str, int, bool, type(None)):
        plain = type(None) if kind is None else kind
        return lambda value: _checked(where, cast("type", plain), value)
    return None


def _checked(where: str, kind: type[T], value: object) -> T:
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _wrong(where, kind, value)


def _float(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(where, float, value)
    try:
        number = float(value)
    except OverflowError:  # of a long int
        number = math.inf
    if not math.isfinite(number):
        raise MismatchError(f"{where} must be finite")
    return number


def _optional(form: _Form) -> _Form:
    return _Form(
        lambda value: None if value is None else form.from_json(value),
        lambda value: None if value is None else form.to_json(value),
    )


def _list(where: str, of: _Form) -> _Form:
    return _Form(
        lambda value: [of.from_json(each) for each in _checked(where, list, value)],
        lambda value: [of.to_json(each) for each in _checked(where, list, value)],
    )


def _dict(where: str, of: _Form) -> _Form:
    def convert(value: object, one: _Convert) -> dict[str, Any]:
        found = _checked(where, dict, value)
        return {_checked(f"a key of {where}", str, key): one(it) for key, it in found.items()}

    return _Form(
        lambda value: convert(value, of.from_json), lambda value: convert(value, of.to_json)
    )


def _no_constant(name: str) -> object:
    raise MismatchError(f"{name} is no JSON")


def _wrong(where: str, kind: type, value: object) -> MismatchError:
    # Names and types alone: a value may be what nobody is to see.
    return MismatchError(f"{where} must be {_name(kind)}, not {type(value).__name__}")


def _name(kind: object) -> str:
    if kind is None or kind is type(None):
        return "None"
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
