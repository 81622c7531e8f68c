"""Packet Identifiers of QoS 2 messages, which handlers without a key keep in their database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from ferromqtt._driver import Protocol
from ferromqtt._native import Message

_EXACTLY_ONCE = 2


class Change(NamedTuple):
    """What has become of identifiers, in a row in which nothing may be left out."""

    sequence: int
    kind: str
    """`connecting`: the next answer of a server may be about another session. `resumed`: it was
    not. `lost`: no identifier means anything any more. `released`: this one does not."""
    identifier: int


class Identifiers:
    """What has become of identifiers in one run of a router, for its handlers without a key.

    The client holds back what depends on a change until each handler has committed it: CONNECT,
    PUBCOMP, and, after a lost session, nearly everything.
    """

    def __init__(self, core: Protocol) -> None:
        self._core = core
        self._ledgers: list[Ledger] = []
        self._last = 0
        self._written = 0
        self._settled = asyncio.Event()

    def ledger(self) -> Ledger:
        """Return the changes as one handler gets them; called before the client connects."""
        ledger = Ledger(self)
        self._ledgers.append(ledger)
        return ledger

    def begin(self) -> None:
        """Have the client report changes, from its next connection on."""
        self._core.on_identifier = self._on_identifier
        self._core.keeps_identifiers = True

    def end(self) -> None:
        """Have it hold back nothing any more, from its next connection on."""
        self._core.keeps_identifiers = False
        self._core.on_identifier = None

    def _on_identifier(self, sequence: int, kind: str, identifier: int) -> None:
        self._last = sequence
        for ledger in self._ledgers:
            ledger.add(Change(sequence, kind, identifier))

    def settle(self) -> None:
        """Let go of what all handlers have committed."""
        written = min(ledger.written for ledger in self._ledgers)
        if written > self._written:
            self._written = written
            self._core.identifiers_written(written)
            self._settled.set()

    async def catch_up(self) -> None:
        """Wait until all is committed that is known now, and the client has gone on."""
        last = self._last
        while self._written < last:
            self._settled.clear()
            await self._settled.wait()


def identifiers_of(messages: Sequence[Message]) -> list[str | None]:
    """Return the identifiers to remember, and None for messages of less than QoS 2.

    Those of QoS 1 are free again after the acknowledgement.
    """
    return [str(each.mid) if each.qos == _EXACTLY_ONCE else None for each in messages]


class Ledger:
    """The changes that one handler has not committed."""

    def __init__(self, identifiers: Identifiers) -> None:
        self.identifiers = identifiers
        self.written = 0
        """All changes up to the one with this number are committed."""
        self._pending: list[Change] = []
        self._added = asyncio.Event()

    @property
    def pending(self) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
        """The changes in their order: those before the end of a session, and those from there."""
        kinds = [change.kind for change in self._pending]
        end = kinds.index("lost") if "lost" in kinds else len(kinds)
        return tuple(self._pending[:end]), tuple(self._pending[end:])

    def add(self, change: Change) -> None:
        """Add a change."""
        self._pending.append(change)
        self._added.set()

    async def wait(self) -> None:
        """Wait until a change has been added since this was called."""
        await self._added.wait()
        self._added.clear()

    def confirm(self, changes: Sequence[Change]) -> None:
        """Note that these are committed: the first ones."""
        if changes:
            del self._pending[: len(changes)]
            self.written = changes[-1].sequence
            self.identifiers.settle()
