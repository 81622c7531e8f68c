"""Starts Debian's mosquitto with a configuration of its own."""

import contextlib
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from support import certificates

USERNAME, PASSWORD = "alice", "wonderland"
INSTALL = "apt-get install mosquitto"
PORTS = range(20_000, 32_000)  # below those that systems give to connections


def find() -> str:
    """Return the program's path; Debian puts it where a plain user's PATH does not look."""
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    assert program, f"these tests need the mosquitto broker, install it with: {INSTALL}"
    return program


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nothing uses at this moment.

    Not one that the system chooses: it gives those to connections, too, before a server is up. Nor
    one with connections that have just ended: mosquitto's WebSocket listener does not start there.
    """
    for port in random.sample(PORTS, 1000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((host, port))
            return port
    message = "no port is free"
    raise RuntimeError(message)


class Mosquitto:
    """One broker process: a plain listener and, unless `plain_only`, others of every kind.

    With `persistent` it keeps sessions in a file when it is stopped. It sends each client
    `max_inflight` messages before it waits for acknowledgements.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        plain_only: bool = False,
        persistent: bool = False,
        max_inflight: int = 20,
    ) -> None:
        self._program = find()
        self.host = host
        self.port = port or free_port(host)
        self._plain_only = plain_only
        self._persistent = persistent
        self._max_inflight = max_inflight
        self._folder = Path(tempfile.mkdtemp(prefix="ferromqtt-mosquitto-"))
        self.log: deque[str] = deque(maxlen=500)
        self._running = threading.Event()
        self.ca_file = self._folder / "ca.pem"
        self.other_ca_file = self._folder / "other-ca.pem"
        self.client_certificate = self._folder / "client.pem"
        self.client_key = self._folder / "client.key"
        self.unix_path = self._folder / "socket"
        self.login_port = self.tls_port = self.mutual_tls_port = 0
        self.websocket_port = self.secure_websocket_port = 0

    @property
    def where(self) -> tuple[str, int]:
        """What `Client` is given to get to the plain listener."""
        return self.host, self.port

    def _configuration(self) -> str:
        lines = [
            "per_listener_settings true",
            "max_queued_messages 0",
            f"max_inflight_messages {self._max_inflight}",
            "max_packet_size 268435455",  # 2.1 takes 2 MB by default
            "set_tcp_nodelay true",
            *(
                ("persistence true", f"persistence_location {self._folder}/", "autosave_interval 0")
                if self._persistent
                else ("persistence false",)
            ),
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type information",
            f"listener {self.port} {self.host}",
            "allow_anonymous true",
        ]
        if not self._plain_only:
            passwords = self._folder / "passwords"
            passwords.write_text(f"{USERNAME}:{PASSWORD}\n")
            hasher = shutil.which("mosquitto_passwd") or "mosquitto_passwd"
            subprocess.run([hasher, "-U", str(passwords)], check=True, timeout=30)
            certificates.make(self._folder)
            self.login_port, self.tls_port, self.mutual_tls_port = (free_port() for _ in range(3))
            self.websocket_port, self.secure_websocket_port = (free_port() for _ in range(2))
            tls = [
                "allow_anonymous true",
                f"cafile {self.ca_file}",
                f"certfile {self._folder / 'server.pem'}",
                f"keyfile {self._folder / 'server.key'}",
            ]
            lines += [
                f"listener {self.login_port} {self.host}",
                "allow_anonymous false",
                f"password_file {passwords}",
                f"listener {self.tls_port} {self.host}",
                *tls,
                f"listener {self.mutual_tls_port} {self.host}",
                *tls,
                "require_certificate true",
                f"listener {self.websocket_port} {self.host}",
                "allow_anonymous true",
                "protocol websockets",
                f"listener {self.secure_websocket_port} {self.host}",
                *tls,
                "protocol websockets",
                f"listener 0 {self.unix_path}",
                "allow_anonymous true",
            ]
        return "\n".join(lines) + "\n"

    def __enter__(self) -> Self:
        self._settings.write_text(self._configuration())
        self._let_broker_read()
        self.start()
        return self

    @property
    def _settings(self) -> Path:
        return self._folder / "mosquitto.conf"

    def start(self) -> None:
        """Start it, for the first time or after `stop`."""
        self._running.clear()
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._follow_log, daemon=True)
        self._reader.start()
        if not self._running.wait(40) or self._process.poll() is not None:
            self.__exit__(None, None, None)
            message = "mosquitto did not start:\n" + "\n".join(self.log)
            raise RuntimeError(message)

    def stop(self, *, keep: bool = True) -> None:
        """Stop the process. Its sessions are lost unless it is `persistent`, and told to `keep`."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._reader.join(10)
        assert self._process.stderr is not None
        self._process.stderr.close()
        if not keep:
            (self._folder / "mosquitto.db").unlink(missing_ok=True)

    def _let_broker_read(self) -> None:
        """Give the files to the user that mosquitto turns into when root starts it."""
        if os.geteuid() != 0:
            return
        user = pwd.getpwnam("mosquitto")
        for path in (self._folder, *self._folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)

    def _follow_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.rstrip())
            if line.rstrip().endswith(" running"):
                self._running.set()
        self._running.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)
