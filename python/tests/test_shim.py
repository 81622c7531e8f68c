"""The `aiomqtt` module of the second distribution (contract 1.1)."""

import importlib
import json
import logging
import os
import socket
import subprocess
import sys
from types import ModuleType

import pytest

import ferromqtt
from aiomqtt_names import NAMES as NAMES_OF_THE_ORIGINAL
from conftest import SHIM
from support.loops import LoopRunner

NAMES = {
    "Client",
    "Message",
    "MessagesIterator",
    "MqttCodeError",
    "MqttError",
    "MqttReentrantError",
    "ProtocolVersion",
    "ProxySettings",
    "TLSParameters",
    "Topic",
    "TopicLike",
    "Wildcard",
    "WildcardLike",
    "Will",
}


def test_top_level_names_are_those_of_ferromqtt_1_1(shim: ModuleType) -> None:
    assert set(shim.__all__) - {"__version__", "__version_tuple__"} == NAMES
    for name in NAMES - {"Client"}:
        assert getattr(shim, name) is getattr(ferromqtt, name), name
    assert issubclass(shim.Client, ferromqtt.Client)


def test_version_is_the_one_it_stands_in_for_1_1(shim: ModuleType) -> None:
    assert shim.__version__ == "2.5.1"
    assert tuple(shim.__version_tuple__)[:3] == (2, 5, 1)


@pytest.mark.parametrize("name", NAMES_OF_THE_ORIGINAL)
def test_submodule_1_1(shim: ModuleType, name: str) -> None:
    """The list is compared with the original where that is installed (`make upstream`)."""
    module = importlib.import_module(name)
    missing = {it for it in NAMES_OF_THE_ORIGINAL[name] if not hasattr(module, it)}
    assert not missing
    for attribute in NAMES & vars(module).keys():
        assert getattr(module, attribute) is getattr(shim, attribute)


def test_names_of_paho_are_ours_1_1(shim: ModuleType) -> None:
    client, types = (importlib.import_module(f"{shim.__name__}.{it}") for it in ("client", "types"))
    for name in ("Properties", "ReasonCode", "SubscribeOptions"):
        assert getattr(client, name) is getattr(ferromqtt, name)
    assert types.SubscribeOptions is ferromqtt.SubscribeOptions
    assert [it.value for it in client.CallbackAPIVersion] == [1, 2]
    assert client.MQTT_LOGGER is logging.getLogger("mqtt")


def test_the_module_of_paho_is_there_when_it_is_installed_1_1(
    shim: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("client", "exceptions", "message"):
        module = importlib.import_module(f"{shim.__name__}.{name}")
        assert module.mqtt is importlib.import_module("paho.mqtt.client")
    for name in [it for it in sys.modules if it.partition(".")[0] == "paho"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "paho", None)  # not installed
    for name in ("client", "exceptions", "message"):
        module = importlib.import_module(f"{shim.__name__}.{name}")
        assert not hasattr(module, "mqtt")
        with pytest.raises(AttributeError, match=r"paho-mqtt is not installed$"):
            module.mqtt  # noqa: B018 - it raises
        with pytest.raises(AttributeError, match=r"has no attribute 'nothing'$"):
            module.nothing  # noqa: B018 - it raises


def test_helpers_of_the_original_can_be_called_1_1(shim: ModuleType, run: LoopRunner) -> None:
    client = importlib.import_module(f"{shim.__name__}.client")

    class Mine(shim.Client):  # type: ignore[name-defined, misc]
        @client._outgoing_call
        async def double(self, number: int) -> int:
            return 2 * number

    async def main() -> None:
        assert await Mine("localhost", max_concurrent_outgoing_calls=1).double(21) == 42

    run(main)
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    client._set_client_socket_defaults(None, options)
    with socket.socket() as connection:
        client._set_client_socket_defaults(connection, options)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_connect_error_texts_are_where_tests_import_them_1_1(shim: ModuleType) -> None:
    exceptions = importlib.import_module(f"{shim.__name__}.exceptions")
    assert exceptions._CONNECT_RC_STRINGS[5] == "Not authorised"
    assert sorted(exceptions._CONNECT_RC_STRINGS) == [1, 2, 3, 4, 5]


def test_warnings_go_to_the_logger_of_the_original_1_2(
    shim: ModuleType, run: LoopRunner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        await shim.Client("localhost").__aexit__(None, None, None)

    run(main)
    assert [(record.name, record.levelname) for record in caplog.records] == [("mqtt", "WARNING")]


def test_ships_a_type_marker_1_1() -> None:
    assert (SHIM / "aiomqtt" / "py.typed").is_file()


def test_importing_needs_no_other_package_and_starts_no_thread_1_1() -> None:
    """Only the shim, ferromqtt and the standard library are loaded; the logger is set up."""
    program = (
        "import sys, json, threading, logging; before = set(sys.modules); import aiomqtt; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(json.dumps([sorted(new - set(sys.stdlib_module_names)), "
        "threading.active_count(), logging.getLogger('mqtt').level]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(SHIM)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(done.stdout) == [["aiomqtt", "ferromqtt"], 1, logging.NOTSET]
