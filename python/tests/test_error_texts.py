"""Every Python text of docs/errors.md is provoked, and reads as the page says."""

import asyncio
import re
import sys
import traceback
from pathlib import Path

import pytest

from support import certificates
from support.clients import LIMIT
from support.provocations import calls, connecting, log, options
from support.provocations.registry import KEY_PASSWORD, LOG, PROVOCATIONS, Provocation, World

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from errors import Row, rows

ROWS = [row for row in rows() if row.section.startswith("Python")]
MODULES = (options, connecting, calls, log)
"""Importing them has filled the registry."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    certificates.make(made)
    certificates.encrypt_key(made, "client", KEY_PASSWORD)
    certificates.issue(made, "expired", "subjectAltName=DNS:localhost\n", expired=True)
    certificates.issue(made, "elsewhere", "subjectAltName=DNS:broker.example\n")
    (made / "nonsense.pem").write_text("nothing of use\n")
    return made


def pattern(text: str) -> re.Pattern[str]:
    """Return what a row's text stands for: anything in place of its placeholders."""
    parts = re.split(r"\{[a-z]+\}", text)
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)


def key_of(row: Row) -> str | None:
    """Return the provocation of a row: the one whose part is the longest in it."""
    keys = [
        (len(part), key)
        for key, (part, _) in PROVOCATIONS.items()
        if key.startswith(f"{row.section}: ") and part in row.text
    ]
    return max(keys)[1] if keys else None


def test_every_row_has_its_own_provocation_and_every_provocation_a_row() -> None:
    keys = [key_of(row) for row in ROWS]
    assert [row.text for row, key in zip(ROWS, keys, strict=True) if key is None] == []
    assert sorted(key for key in keys if key) == sorted(PROVOCATIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
def test_a_text_reads_as_the_page_says(
    row: Row, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(row)
    assert key is not None
    world = World(folder, monkeypatch, caplog)
    if row.section == LOG:
        asyncio.run(as_coroutine(PROVOCATIONS[key][1], world))
        told = {(record.levelname, record.getMessage()) for record in caplog.records}
        assert any(
            level == row.raised_as and pattern(row.text).fullmatch(text) for level, text in told
        ), told
        return
    with pytest.raises(Exception) as caught:  # noqa: PT011  the row says which
        asyncio.run(as_coroutine(PROVOCATIONS[key][1], world))
    error = caught.value
    kind = row.raised_as.removeprefix("note of ")
    assert type(error).__name__ == kind, "".join(traceback.format_exception(error))
    texts = [str(error)]
    if kind != row.raised_as:
        texts = getattr(error, "__notes__", [])
    assert any(pattern(row.text).fullmatch(text) for text in texts), texts
    assert "secret" not in "".join(traceback.format_exception_only(error))


async def as_coroutine(provocation: Provocation, world: World) -> None:
    async with asyncio.timeout(LIMIT):
        await provocation(world)
