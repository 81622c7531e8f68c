"""What programs that read annotations and signatures find: they can be resolved at run time."""

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
import ssl
import typing
from collections.abc import Callable, Iterator
from types import ModuleType

import pydantic
import pytest

import ferromqtt
from ferromqtt._keywords import LazySignature
from ferromqtt._queue import QueuedMessages

SHIM_MODULES = ("aiomqtt", *(f"aiomqtt.{name}" for name in ("client", "exceptions", "message")))
SHIM_MODULES += ("aiomqtt.topic", "aiomqtt.types")
SPECIAL = ("__init__", "__aenter__", "__aexit__", "__aiter__", "__anext__", "__len__")
MODULES = [
    "ferromqtt",
    *(
        f"ferromqtt.{module.name}"
        for module in pkgutil.iter_modules(ferromqtt.__path__)
        if not module.name.startswith("_")
    ),
]


def public_members(owner: type | ModuleType) -> Iterator[tuple[str, object]]:
    """Yield the functions and classes that a module or class offers of its own."""
    for name, value in list(vars(owner).items()):  # annotations import what is imported late
        if name.startswith("_") and name not in SPECIAL:
            continue
        member = value
        if isinstance(member, property):
            member = member.fget
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        if inspect.isroutine(member) or inspect.isclass(member):
            yield name, member


def is_public(module: str) -> bool:
    """Whether what is defined there is ours, and offered to programs."""
    package, *rest = module.split(".")
    private = any(part.startswith("_") and part != "_native" for part in rest)
    return package in ("aiomqtt", "ferromqtt") and not private


def annotated(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Yield every function and class of a module, and the functions of its classes."""
    for name, member in public_members(module):
        if not is_public(str(getattr(member, "__module__", ""))):
            continue
        yield f"{module.__name__}.{name}", member
        if isinstance(member, type):
            for base in member.__mro__:
                if is_public(base.__module__):
                    for inner, function in public_members(base):
                        yield f"{module.__name__}.{name}.{inner}", function


@pytest.mark.parametrize("name", [*MODULES, *SHIM_MODULES])
def test_every_annotation_can_be_resolved_1_1(shim: ModuleType, name: str) -> None:
    assert shim.__name__ == "aiomqtt"
    for place, member in annotated(importlib.import_module(name)):
        try:
            typing.get_type_hints(member)
        except NameError as error:
            pytest.fail(f"{place}: {error}")


def test_the_messages_of_any_queue_have_annotations_1_5() -> None:
    for kind in (ferromqtt.MessagesIterator, QueuedMessages):
        for _, member in public_members(kind):
            typing.get_type_hints(member)


def test_annotations_of_the_client_are_types_1_1() -> None:
    hints = typing.get_type_hints(ferromqtt.Client.__init__)
    assert hints["tls_context"] == ssl.SSLContext | None
    assert hints["return"] is type(None)


def test_pydantic_makes_tls_parameters_1_7(shim: ModuleType) -> None:
    """As programs do that read their configuration with it."""
    for module in (ferromqtt, shim):
        adapter = pydantic.TypeAdapter(module.TLSParameters)
        made = adapter.validate_python({"ca_certs": "ca.pem", "cert_reqs": 0})
        assert made == module.TLSParameters(ca_certs="ca.pem", cert_reqs=ssl.CERT_NONE)
        with pytest.raises(pydantic.ValidationError):
            adapter.validate_python({"ca_certs": 5})


def test_the_signature_of_a_message_names_its_parameters_1_7() -> None:
    names = ["topic", "payload", "qos", "retain", "mid", "properties"]
    parameters = inspect.signature(ferromqtt.Message).parameters
    assert list(parameters) == names
    assert all(it.default is it.empty for it in parameters.values())

    class Mine(ferromqtt.Message):
        pass

    assert list(inspect.signature(Mine).parameters) == names


@pytest.mark.parametrize(
    "look",
    [
        str,
        hash,
        copy.copy,
        lambda signature: signature.bind("a", timeout=1),
        lambda signature: signature.replace(return_annotation=int),
        lambda signature: pickle.loads(pickle.dumps(signature)),
        lambda signature: signature == inspect.signature(len),
    ],
)
def test_a_signature_is_made_whatever_is_looked_at_first_1_7(
    look: Callable[[inspect.Signature], object],
) -> None:
    def call(topic: str, qos: int = 0, **keywords: object) -> bool:
        raise NotImplementedError

    timeout = inspect.Parameter("timeout", inspect.Parameter.KEYWORD_ONLY, default=None)
    signature = LazySignature.by(call, lambda: [timeout])
    look(signature)
    assert str(signature) == "(topic: str, qos: int = 0, *, timeout=None) -> bool"
    with pytest.raises(AttributeError):
        signature.no_such_attribute  # noqa: B018 - asking is what raises


def test_dataclasses_name_the_types_of_their_fields_1_7() -> None:
    for kind in (ferromqtt.Will, ferromqtt.TLSParameters, ferromqtt.Topic, ferromqtt.Wildcard):
        hints = typing.get_type_hints(kind)
        assert {field.name for field in dataclasses.fields(kind)} <= hints.keys()
