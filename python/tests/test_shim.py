"""The `aiomqtt` module of the second distribution (contract 1.1, design decision 11)."""

import importlib
import json
import logging
import os
import subprocess
import sys
from types import ModuleType

import pytest

import ferromqtt
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
SUBMODULES = {
    "client": {
        "Client",
        "MessagesIterator",
        "ProtocolVersion",
        "ProxySettings",
        "TLSParameters",
        "Will",
    },
    "exceptions": {
        "MqttCodeError",
        "MqttConnectError",
        "MqttError",
        "MqttReentrantError",
        "_CONNECT_RC_STRINGS",
    },
    "message": {"Message"},
    "topic": {"MAX_TOPIC_LENGTH", "Topic", "TopicLike", "Wildcard", "WildcardLike"},
    "types": {
        "P",
        "PahoSocket",
        "PayloadType",
        "SocketOption",
        "SubscribeTopic",
        "T",
        "WebSocketHeaders",
    },
}


def test_top_level_names_are_those_of_ferromqtt_1_1(shim: ModuleType) -> None:
    assert set(shim.__all__) - {"__version__", "__version_tuple__"} == NAMES
    for name in NAMES - {"Client"}:
        assert getattr(shim, name) is getattr(ferromqtt, name), name
    assert issubclass(shim.Client, ferromqtt.Client)


def test_version_is_the_one_it_stands_in_for_1_1(shim: ModuleType) -> None:
    assert shim.__version__ == "2.5.1"
    assert tuple(shim.__version_tuple__)[:3] == (2, 5, 1)


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodule_1_1(shim: ModuleType, name: str) -> None:
    module = importlib.import_module(f"{shim.__name__}.{name}")
    missing = {attribute for attribute in SUBMODULES[name] if not hasattr(module, attribute)}
    assert not missing
    for attribute in SUBMODULES[name] & NAMES:
        assert getattr(module, attribute) is getattr(shim, attribute)


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
