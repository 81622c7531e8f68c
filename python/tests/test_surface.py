"""Names, parameters and defaults: what programs see before anything runs (contract 1.1 to 1.3)."""

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

import ferromqtt
from conftest import SHIM
from ferromqtt import (
    Client,
    MessagesIterator,
    ProtocolVersion,
    ProxySettings,
    TLSParameters,
    Will,
    testing,
)
from support.loops import LoopRunner

ROOT = Path(__file__).parents[2]
REQUIRED = inspect.Parameter.empty
POSITIONAL, KEYWORD = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
CLIENT: dict[str, object] = {
    "hostname": REQUIRED,
    "port": 1883,
    "username": None,
    "password": None,
    "logger": None,
    "identifier": None,
    "queue_type": None,
    "protocol": None,
    "will": None,
    "clean_session": None,
    "transport": "tcp",
    "timeout": None,
    "keepalive": 60,
    "bind_address": "",
    "bind_port": 0,
    "clean_start": 3,
    "max_queued_incoming_messages": None,
    "max_queued_outgoing_messages": None,
    "max_inflight_messages": None,
    "max_concurrent_outgoing_calls": None,
    "properties": None,
    "tls_context": None,
    "tls_params": None,
    "tls_insecure": None,
    "proxy": None,
    "socket_options": None,
    "websocket_path": None,
    "websocket_headers": None,
}
CALLS: dict[str, dict[str, object]] = {
    "publish": {
        "topic": REQUIRED,
        "payload": None,
        "qos": 0,
        "retain": False,
        "properties": None,
        "timeout": None,
    },
    "subscribe": {
        "topic": REQUIRED,
        "qos": 0,
        "options": None,
        "properties": None,
        "timeout": None,
    },
    "unsubscribe": {"topic": REQUIRED, "properties": None, "timeout": None},
}


def test_every_name_in_all_is_there_1_1() -> None:
    for name in ferromqtt.__all__:
        assert getattr(ferromqtt, name, None) is not None, name
    assert len(set(ferromqtt.__all__)) == len(ferromqtt.__all__)
    star: dict[str, object] = {}
    exec("from ferromqtt import *", star)
    assert set(ferromqtt.__all__) <= set(star)


LAZY = """
import sys
import ferromqtt
import ferromqtt.testing

assert "ferromqtt.events" not in sys.modules
assert not any(name.startswith(("ferromqtt.once", "ferromqtt._once")) for name in sys.modules)
assert ferromqtt.once.StoreFailedError.__name__ == "StoreFailedError"
assert "Router" in dir(ferromqtt) and "Chaos" in dir(ferromqtt.testing)
assert ferromqtt.events.Connected.__module__ == "ferromqtt.events"
assert ferromqtt.Router is ferromqtt.router.Router
assert ferromqtt.testing.VirtualLoop.__name__ == "VirtualLoop"
try:
    ferromqtt.Ruoter
except AttributeError as error:
    assert str(error) == "module 'ferromqtt' has no attribute 'Ruoter'"
else:
    raise AssertionError("a name that is not there was found")
"""


def test_names_that_are_seldom_used_are_imported_when_asked_for() -> None:
    subprocess.run([sys.executable, "-c", LAZY], check=True, timeout=60)


@pytest.mark.parametrize(
    "name", ["ferromqtt", "ferromqtt.blocking", "ferromqtt.events", "ferromqtt.testing"]
)
def test_the_types_of_what_is_public_can_be_read(name: str) -> None:
    """Tools for documentation do, and frameworks that look at signatures."""
    module = importlib.import_module(name)
    for exported in module.__all__:
        value = getattr(module, exported)
        functions = [(exported, value)] if inspect.isfunction(value) else []
        if inspect.isclass(value):
            functions = [
                (f"{exported}.{attribute}", member.fget if isinstance(member, property) else member)
                for attribute, member in inspect.getmembers(value)
                if not attribute.startswith("_")
            ]
        for what, function in functions:
            if inspect.isfunction(function):
                assert isinstance(typing.get_type_hints(function), dict), what


def test_connect_error_is_in_exceptions_and_not_at_the_top_of_the_shim_1_1(
    shim: ModuleType,
) -> None:
    exceptions = importlib.import_module("aiomqtt.exceptions")
    assert issubclass(exceptions.MqttConnectError, shim.MqttCodeError)
    assert "MqttConnectError" not in shim.__all__
    assert not hasattr(shim, "MqttConnectError")


def test_version_is_the_workspace_s_1_1() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]
    assert ferromqtt.__version__ == workspace["package"]["version"]
    assert ".".join(str(part) for part in ferromqtt.__version_tuple__) == ferromqtt.__version__


def test_aliases_are_what_annotations_need_1_1() -> None:
    assert set(typing.get_args(ferromqtt.TopicLike)) == {str, ferromqtt.Topic}
    assert set(typing.get_args(ferromqtt.WildcardLike)) == {str, ferromqtt.Wildcard}
    types = importlib.import_module("ferromqtt.types")
    assert set(typing.get_args(types.PayloadType)) == {
        str,
        bytes,
        bytearray,
        memoryview,
        int,
        float,
        type(None),
    }
    assert types.P.__name__ == "P"
    assert types.T.__name__ == "T"


def test_both_packages_ship_a_type_marker_1_1() -> None:
    assert ferromqtt.__file__ is not None
    assert (Path(ferromqtt.__file__).parent / "py.typed").is_file()
    assert (SHIM / "aiomqtt" / "py.typed").is_file()


def test_the_package_needs_no_other_at_run_time_1_1() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["dependencies"] == []
    assert project["requires-python"] == ">=3.11"


def test_parameters_of_the_client_and_their_defaults_1_2() -> None:
    """More may follow: keyword-only, with a default."""
    parameters = inspect.signature(Client).parameters
    assert {name: parameters[name].default for name in CLIENT} == CLIENT
    assert list(parameters)[:2] == ["hostname", "port"]
    for name, parameter in parameters.items():
        assert parameter.kind is (POSITIONAL if name in ("hostname", "port") else KEYWORD), name
        assert name in CLIENT or parameter.default is not REQUIRED


def test_the_shim_s_client_takes_the_same_1_2(shim: ModuleType) -> None:
    assert inspect.signature(shim.Client) == inspect.signature(Client)


@pytest.mark.parametrize("name", CALLS)
def test_parameters_of_a_call_and_their_defaults_1_3(name: str) -> None:
    """More may follow: keyword-only, with a default."""
    function = getattr(Client, name)
    assert inspect.iscoroutinefunction(function)
    parameters = dict(inspect.signature(function).parameters)
    assert next(iter(parameters)) == "self"
    del parameters["self"]
    defaults = {it: parameter.default for it, parameter in parameters.items()}
    assert {it: defaults.pop(it) for it in CALLS[name]} == CALLS[name]
    for it, parameter in parameters.items():
        by_position = it in CALLS[name] and it != "timeout"
        assert parameter.kind is (POSITIONAL if by_position else KEYWORD), it
    assert set(defaults.values()) <= {None}


@pytest.mark.parametrize("name", CALLS)
def test_further_arguments_are_a_type_error_1_3(run: LoopRunner, name: str) -> None:
    async def main() -> None:
        call = getattr(Client("localhost"), name)
        with pytest.raises(TypeError, match="unexpected keyword argument 'further'"):
            await call("a", further=1)
        with pytest.raises(TypeError, match="positional argument"):
            await call("a", *[None] * 5)

    run(main)


def test_public_members_of_the_client_1_3(run: LoopRunner) -> None:
    async def main() -> None:
        client = Client("localhost", identifier="me")
        assert client.identifier == "me"
        assert client.timeout == 10
        assert client.pending_calls_threshold == 10
        assert isinstance(client.messages, MessagesIterator)
        with pytest.raises(AttributeError):
            client.identifier = "you"  # type: ignore[misc]
        with pytest.raises(AttributeError):
            client.messages = None  # type: ignore[misc,assignment]
        for absent in ("connected", "connect", "disconnect", "is_connected"):
            assert not hasattr(client, absent)

    run(main)


@pytest.mark.parametrize(
    ("given", "seen"), [(None, 10), (0, 0), (2.5, 2.5), (float("inf"), float("inf"))]
)
def test_timeout_is_a_public_attribute_1_2(given: float | None, seen: float) -> None:
    client = Client("localhost", timeout=given)
    assert client.timeout == seen
    client.timeout = 3
    assert client.timeout == 3


@pytest.mark.parametrize("name", ["tcp", "TCP", "websockets", "WebSockets", "unix", "UNIX"])
def test_transport_is_told_in_any_case_1_2(name: str) -> None:
    Client("localhost", transport=name)


@pytest.mark.parametrize("name", ["", "udp", "ws", "tls"])
def test_another_transport_is_refused_naming_those_there_are_1_2(name: str) -> None:
    with pytest.raises(ValueError, match=r"websockets.*tcp.*unix"):
        Client("localhost", transport=name)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_protocol_may_be_a_number_1_2(protocol: Literal[3, 4, 5]) -> None:
    Client("localhost", protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 6, "V5", "5", 5.0, True])
def test_another_protocol_is_refused_naming_those_there_are_1_2(protocol: Any) -> None:  # noqa: ANN401
    with pytest.raises(
        (TypeError, ValueError), match=r"^protocol must be .*V5 \(3, 4 or 5\), not "
    ):
        Client("localhost", protocol=protocol)


def test_proxy_settings_keep_their_arguments_1_2() -> None:
    settings = ProxySettings(proxy_type=2, proxy_addr="127.0.0.1")
    assert settings.proxy_args == {
        "proxy_type": 2,
        "proxy_addr": "127.0.0.1",
        "proxy_rdns": True,
        "proxy_username": None,
        "proxy_password": None,
        "proxy_port": None,
    }
    parameters = inspect.signature(ProxySettings).parameters.values()
    assert all(parameter.kind is KEYWORD for parameter in parameters)
    with pytest.raises(TypeError):
        ProxySettings(2, "127.0.0.1")  # type: ignore[misc]


def test_small_types_take_their_arguments_by_position_too_1_7() -> None:
    assert Will("a", b"x", 1, True, None) == Will(
        topic="a", payload=b"x", qos=1, retain=True, properties=None
    )
    given = TLSParameters("ca", "cert", "key", None, None, "ciphers", "secret")
    assert (given.ca_certs, given.ciphers, given.keyfile_password) == ("ca", "ciphers", "secret")
    assert hash(given) == hash(TLSParameters("ca", "cert", "key", None, None, "ciphers", "secret"))
    assert ProtocolVersion(5) is ProtocolVersion.V5


def test_the_docstring_of_the_client_tells_of_every_parameter_1_2() -> None:
    documented = set(re.findall(r"^    (\w+): ", inspect.getdoc(Client) or "", re.MULTILINE))
    assert set(inspect.signature(Client).parameters) <= documented


def public_docstrings() -> Iterator[tuple[str, str | None]]:
    """Return what `help` shows of the public names, and of their public members."""
    for module in (ferromqtt, testing):
        for name in module.__all__:
            public = getattr(module, name)
            if isinstance(public, str | tuple) or not inspect.isclass(public):
                continue
            yield name, public.__doc__
            for member, value in inspect.getmembers(public):
                doc = getattr(value, "__doc__", None)
                if isinstance(doc, str) and doc != type(value).__doc__:
                    yield f"{name}.{member}", doc


def test_docstrings_are_for_users_1_1() -> None:
    internal = r"PyO3|CPython|\bGIL\b|free list|\bRust\b|borrow|`_(?!_)|\[`"
    for name, doc in public_docstrings():
        assert doc, name
        assert not re.search(internal, doc), (name, doc)
