"""What all servers have in common: start a program, wait until it is ready, stop it."""

import os
import re
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

HOST = "127.0.0.1"
STOP_SECONDS = 10
SHOWN_LINES = 60


@dataclass(frozen=True)
class Login:
    """A user that the server knows."""

    username: str
    password: str


LOGIN = Login("interop", "open-sesame")
"""The one user of every server."""


class NotHere(Exception):  # noqa: N818 - no error: the summary tells, and the tests are skipped
    """The server cannot be run on this machine; the text says what is missing."""


class Server(ABC):
    """One server on loopback with a folder and ports of its own.

    A subclass writes the configuration and says which line of output tells that it is ready.
    """

    name: ClassVar[str]
    start_seconds: ClassVar[float]
    ready: ClassVar[str]
    """A regular expression for the line of output after which clients may come."""
    told: ClassVar[str] = ""
    """One for lines up to that, whose named groups are ports: attributes of those names."""

    host = HOST
    port: int
    anonymous: ClassVar[bool] = True
    """Whether clients need not say who they are."""
    login_port: int = 0
    """Where a wrong login is refused; 0 for `port`."""
    websocket_port: int = 0
    websocket_path: str = "/mqtt"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log: deque[str] = deque(maxlen=SHOWN_LINES)
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []
        self._ended_or_ready = threading.Event()
        self._is_ready = False

    @abstractmethod
    def launch(self) -> None:
        """Write the configuration and `run` the program."""

    def start(self) -> None:
        """Launch the server and wait until it is ready; its output comes with the error."""
        began = time.monotonic()
        try:
            self.launch()
            self._ended_or_ready.wait(self.start_seconds)
            assert self._is_ready, (
                f"{self.name} was not ready after {time.monotonic() - began:.1f} s;"
                f" it said in {self.folder}:\n" + self.log()
            )
        except BaseException:
            self.stop()
            raise

    def run(
        self, *command: str, environment: dict[str, str] | None = None, helper: bool = False
    ) -> None:
        """Start a program in the folder and follow its output.

        A helper is a second program that the server needs: its output says nothing about readiness.
        """
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        reader = threading.Thread(
            target=self._follow, args=(process.stdout, helper), daemon=True, name=self.name
        )
        reader.start()
        self._processes.append(process)
        self._readers.append(reader)

    def _follow(self, output: IO[str], helper: bool) -> None:
        # To the end: a full pipe would stop the server.
        for line in output:
            self._log.append(line.rstrip())
            if helper or self._is_ready:
                continue
            if self.told and (found := re.search(self.told, line)):
                for name, port in found.groupdict().items():
                    if port:
                        setattr(self, name, int(port))
            if re.search(self.ready, line):
                self._is_ready = True
                self._ended_or_ready.set()
        if not helper:
            self._ended_or_ready.set()

    def log(self) -> str:
        """Return the last lines of output."""
        return "\n".join(self._log.copy())

    def stop(self) -> None:
        """End what was started, the newest first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)
        for process, reader in zip(self._processes, self._readers, strict=True):
            reader.join(STOP_SECONDS)
            assert process.stdout is not None
            process.stdout.close()
        self._processes.clear()
        self._readers.clear()


def find(program: str, package: str, *, path: str = "/usr/sbin") -> str:
    """Return the program's path, looking also where Debian puts servers."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":" + path)
    assert found, f"these tests need {program}, install it with: apt-get install {package}"
    return found
