"""The broker that comes with the package: in a process of its own, and in memory."""

import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from ferromqtt.testing import TestBroker


class BrokerInMemory:
    """The broker in the loop of the test that uses it first."""

    def __init__(self) -> None:
        self.itself = TestBroker(listen=False)
        self.where: tuple[Any, ...] = (self.itself,)


class BuiltinBroker:
    """`python -m ferromqtt broker`; its first line tells where it listens."""

    def __init__(self, port: int = 0) -> None:
        self._port = port

    @property
    def where(self) -> tuple[str, int]:
        """What `Client` is given to get there."""
        return self.host, self.port

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ferromqtt", "broker", "--port", str(self._port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # a broker that never prints must not hang the suite: readline ends when it is killed
        watchdog = threading.Timer(40, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline().strip()
        watchdog.cancel()
        url = urlsplit(line)
        if url.scheme != "mqtt" or url.hostname is None or url.port is None:
            self.__exit__(None, None, None)
            message = f"the broker's first line must be mqtt://HOST:PORT, not {line!r}"
            raise RuntimeError(message)
        self.host, self.port = url.hostname, url.port
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
