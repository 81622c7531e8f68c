"""Starts Debian's PostgreSQL with a folder and a Unix socket of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

INSTALL = "apt-get install postgresql"
READY = "database system is ready to accept connections"
USER = "postgres"


def find(program: str) -> str:
    """Return a program's path; Debian puts those of the server where no PATH looks."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which(program, path=os.pathsep.join(map(str, reversed(folders))))
    found = found or shutil.which(program)
    assert found, f"these tests need PostgreSQL, install it with: {INSTALL}"
    return found


class Postgres:
    """One server process. It refuses to run as root: then it runs as the user of Debian's."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ferromqtt-postgres-"))
        self._account: dict[str, str | int] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._account = {"user": account.pw_uid, "group": account.pw_gid}

    @property
    def url(self) -> str:
        """Where it is, for psycopg and, behind a scheme, for SQLAlchemy."""
        return f"postgresql:///postgres?host={self._folder}&user={USER}"

    def __enter__(self) -> Self:
        data = str(self._folder / "data")
        settle = [
            "--auth=trust",
            f"--username={USER}",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]
        subprocess.run(
            [find("initdb"), f"--pgdata={data}", *settle],
            check=True,
            timeout=120,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            **self._account,  # type: ignore[call-overload]  # mypy knows no keywords of a dict
        )
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "log_min_messages": "log",  # what clients did wrong would fill the pipe
            "log_checkpoints": "off",
        }
        self._process = subprocess.Popen(
            [
                find("postgres"),
                "-D",
                str(self._folder / "data"),
                *(it for name, value in options.items() for it in ("-c", f"{name}={value}")),
            ],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **self._account,  # type: ignore[call-overload]  # as above
        )
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if READY in line:
                break
        else:
            raise AssertionError("PostgreSQL does not start: " + "".join(lines))

    def stop(self) -> None:
        """Stop it at once: connections that are open are cut."""
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=60)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._folder)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Make a database for a test, and return where it is."""
        name = f"test_{os.urandom(6).hex()}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url.replace("/postgres?", f"/{name}?")
        finally:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
