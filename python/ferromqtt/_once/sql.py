"""The statements of sqlite3, aiosqlite and psycopg."""

from __future__ import annotations

import dataclasses

from ferromqtt._once.store import DeadLetter, Tables

SAVEPOINT = "ferromqtt_once"


@dataclasses.dataclass(frozen=True)
class Statements:
    """The four statements about the tables, in the words of one database."""

    tables: Tables
    mark: str
    """How parameters are written."""
    integer: str
    blob: str
    identity: str
    """How a column is declared that numbers its rows."""

    def create(self) -> list[str]:
        """Make the tables; the index is for `forget`."""
        handled, letters = self.tables.handled, self.tables.dead_letters
        index = f"{handled.rpartition('.')[2]}_at"
        return [
            (
                f"CREATE TABLE IF NOT EXISTS {handled} (\n"
                "    handler TEXT NOT NULL,\n"
                "    message_key TEXT NOT NULL,\n"
                f"    handled_at {self.integer} NOT NULL,\n"
                "    PRIMARY KEY (handler, message_key)\n"
                ")"
            ),
            self._index(index, handled),
            (
                f"CREATE TABLE IF NOT EXISTS {letters} (\n"
                f"    id {self.identity} PRIMARY KEY,\n"
                "    handler TEXT NOT NULL,\n"
                "    message_key TEXT,\n"
                "    topic TEXT NOT NULL,\n"
                f"    payload {self.blob} NOT NULL,\n"
                "    qos INTEGER NOT NULL,\n"
                "    properties TEXT NOT NULL,\n"
                "    error TEXT NOT NULL,\n"
                f"    failed_at {self.integer} NOT NULL\n"
                ")"
            ),
        ]

    def _index(self, index: str, table: str) -> str:
        schema, _, name = table.rpartition(".")
        if schema and self.mark == "?":  # in SQLite the index has the schema, and not the table
            index, table = f"{schema}.{index}", name
        return f"CREATE INDEX IF NOT EXISTS {index} ON {table} (handler, handled_at)"

    @property
    def remember(self) -> str:
        """Insert a row, unless it is there."""
        columns = "handler, message_key, handled_at"
        # The names of tables are checked by `Tables`, here and below.
        row = f"{self.tables.handled} ({columns}) VALUES ({self._marks(3)})"
        return f"INSERT INTO {row} ON CONFLICT DO NOTHING"

    @property
    def forget(self) -> str:
        """Delete old rows, but a bounded number."""
        table = self.tables.handled
        is_old = f"handler = {self.mark} AND handled_at < {self.mark} LIMIT {self.mark}"
        old = f"SELECT handler, message_key FROM {table} WHERE {is_old}"  # noqa: S608 - as above
        return f"DELETE FROM {table} WHERE (handler, message_key) IN ({old})"  # noqa: S608 - as above

    @property
    def bury(self) -> str:
        """Insert a dead letter."""
        names = [field.name for field in dataclasses.fields(DeadLetter)]
        columns = ", ".join("message_key" if name == "key" else name for name in names)
        row = f"({columns}) VALUES ({self._marks(len(names))})"
        return f"INSERT INTO {self.tables.dead_letters} {row}"

    def _marks(self, count: int) -> str:
        return ", ".join([self.mark] * count)


def row(letter: DeadLetter) -> tuple[object, ...]:
    """Return the parameters of `Statements.bury`."""
    return dataclasses.astuple(letter)
