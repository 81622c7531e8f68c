"""Every Python text of docs/errors.md is provoked, and reads as the page says."""

import asyncio
import re
import sys
import traceback
from pathlib import Path

import pytest

from support import certificates
from support.clients import LIMIT
from support.provocations import (
    acknowledging,
    arguments,
    blocking,
    broker,
    calls,
    clocks,
    codecs,
    connecting,
    importing,
    log,
    once,
    options,
    outbox,
    outcomes,
    properties,
    reconnecting,
    reports,
    routing,
    silence,
    subscriptions,
)
from support.provocations.registry import (
    KEY_PASSWORD,
    PROVOCATIONS,
    Provocation,
    World,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from errors import Row, rows

ROWS = [row for row in rows() if row.section.startswith("Python")]
TEXTS = {row.text for row in ROWS}
MODULES = (
    *(arguments, broker, calls, clocks, connecting, importing, log, options, properties, reports),
    *(acknowledging, blocking, codecs, outcomes, reconnecting, routing, silence, subscriptions),
    *(once, outbox),
)
"""Importing them has filled the registry."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    certificates.make(made)
    certificates.encrypt_key(made, "client", KEY_PASSWORD)
    certificates.issue(made, "expired", "subjectAltName=DNS:localhost\n", expired=True)
    certificates.issue(made, "elsewhere", "subjectAltName=DNS:broker.example\n")
    (made / "nonsense.pem").write_text("nothing of use\n")
    marks = ("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY")
    (made / "garbage.pem").write_text("".join(f"-----{mark}-----\n?\n" for mark in marks))
    return made


def pattern(text: str) -> re.Pattern[str]:
    """Return what a row's text stands for: anything in place of its placeholders."""
    parts = re.split(r"\{[a-z]+\}", text)
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)


def key_of(row: Row) -> str | None:
    """Return the provocation of a row: the one whose part is the longest in it.

    A part that is the whole text of a row is for that row alone.
    """
    keys = [
        (len(part), key)
        for key, (part, _) in PROVOCATIONS.items()
        if key.startswith(f"{row.section}: ")
        and part in row.text
        and (part == row.text or part not in TEXTS)
    ]
    return max(keys)[1] if keys else None


def test_every_row_has_its_own_provocation_and_every_provocation_a_row() -> None:
    keys = [key_of(row) for row in ROWS]
    assert [row.text for row, key in zip(ROWS, keys, strict=True) if key is None] == []
    assert sorted(key for key in keys if key) == sorted(PROVOCATIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
def test_a_text_reads_as_the_page_says(
    row: Row,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = key_of(row)
    assert key is not None
    provocation, wanted = PROVOCATIONS[key][1], pattern(row.text)
    reports: list[str] = []
    raised = provoke(provocation, World(folder, monkeypatch, caplog), reports)
    match row.section:
        case "Python: log lines":
            reported = {(record.levelname, record.getMessage()) for record in caplog.records}
            assert (row.raised_as, True) in {
                (level, bool(wanted.fullmatch(text))) for level, text in reported
            }, reported
        case "Python: reports to the loop's exception handler":
            assert any(map(wanted.fullmatch, reports)), reports
        case "Python: commands":
            assert isinstance(raised, SystemExit)
            assert str(raised.code) == row.raised_as
            assert wanted.search(capsys.readouterr().err)
        case _:
            assert raised is not None
            check(row, raised)


def provoke(provocation: Provocation, world: World, reports: list[str]) -> BaseException | None:
    """Return what is raised; the loop's exception handler adds to `reports`."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
        async with asyncio.timeout(LIMIT):
            await provocation(world)

    try:
        asyncio.run(main())
    except (Exception, SystemExit) as error:  # noqa: BLE001  the row says which
        return error
    return None


def check(row: Row, error: BaseException) -> None:
    """Compare an exception with its row."""
    kind = row.raised_as.removeprefix("note of ")
    assert type(error).__name__ == kind, "".join(traceback.format_exception(error))
    texts = [str(error.args[0]) if isinstance(error, KeyError) else str(error)]
    if kind != row.raised_as:
        texts = getattr(error, "__notes__", [])
    assert any(map(pattern(row.text).fullmatch, texts)), texts
    assert "secret" not in "".join(traceback.format_exception_only(error))
