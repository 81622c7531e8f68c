"""The provocations by the rows that they are for, and what they need."""

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ferromqtt import TLSParameters
from support.scripted import Script, over_tls

Given = Any
"""Arguments that are handed on."""


class World:
    """What provocations need: certificates, the environment, and the log."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.caplog = caplog

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def trusting(self, **more: Given) -> TLSParameters:
        return TLSParameters(ca_certs=self.file("ca.pem"), **more)

    def tls_server(self, name: str, *, ask: bool = False) -> Script:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        if ask:
            context.load_verify_locations(self.folder / "ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        return over_tls(context, lambda connection: connection.read_to_end())


Provocation = Callable[[World], Awaitable[None]]
"""Raises the row's error, or writes its log line."""

PROVOCATIONS: dict[str, tuple[str, Provocation]] = {}
"""By a part of the text that no other row of its section has: the section, and what provokes it."""


def provokes(section: str, part: str) -> Callable[[Provocation], Provocation]:
    def add(provocation: Provocation) -> Provocation:
        assert f"{section}: {part}" not in PROVOCATIONS
        PROVOCATIONS[f"{section}: {part}"] = (part, provocation)
        return provocation

    return add


KEY_PASSWORD = "opens the key"
OPTIONS = "Python: wrong options"
CONNECTING = "Python: connecting"
CALLS = "Python: calls and lost connections"
OUTBOX = "Python: the outbox"
ONCE = "Python: exactly-once handlers"
BLOCKING = "Python: the blocking client"
LOG = "Python: log lines"
ARGUMENTS = "Python: wrong arguments of calls"
PROPERTIES = "Python: properties, topics and Reason Codes"
REPORTS = "Python: reports to the loop's exception handler"
BROKER = "Python: the test broker"
VIRTUAL_TIME = "Python: virtual time"
COMMANDS = "Python: commands"
IMPORTING = "Python: importing"
