"""A pytest plugin: aiomqtt's own tests, on a local server, compared with what is expected.

The files of the tests stay as they are. What they take from the outside is given to them: the name
of the server is changed in the module, the ports in the client that they construct, and the
certificate of the authority is read relative to the working directory, where ours is.
"""

import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import aiomqtt
from interop.server import HOST, Server, find
from support import certificates
from support.mosquitto import free_port
from upstream.expected import COUNT, FAILS, SHOWS_NOTHING

NAME = "localhost"  # as in the certificate
PUBLIC_PLAIN, PUBLIC_TLS, PUBLIC_WEBSOCKET = 1883, 8883, 8080


class PublicServer(Server):
    """What the tests expect of the public test server of the mosquitto project."""

    name = "mosquitto"
    start_seconds = 15
    ready = " running$"

    def launch(self) -> None:
        """Let anybody in, except those who say that they are a user and are not."""
        certificates.make(self.folder)
        passwords = self.folder / "passwords"
        hasher = find("mosquitto_passwd", "mosquitto")
        subprocess.run(
            [hasher, "-b", "-c", str(passwords), "somebody", "secret"], check=True, timeout=30
        )
        self.ports = {
            public: free_port() for public in (PUBLIC_PLAIN, PUBLIC_TLS, PUBLIC_WEBSOCKET)
        }
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(
            f"""
            user root
            persistence false
            log_dest stderr
            allow_anonymous true
            password_file {passwords}
            listener {self.ports[PUBLIC_PLAIN]} {HOST}
            listener {self.ports[PUBLIC_TLS]} {HOST}
            certfile {self.folder / "server.pem"}
            keyfile {self.folder / "server.key"}
            listener {self.ports[PUBLIC_WEBSOCKET]} {HOST}
            protocol websockets
            """
        )
        self.run(find("mosquitto", "mosquitto"), "-c", str(configuration))


class Upstream:
    """The server, and what became of each test."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ferromqtt-upstream-"))
        self.server = PublicServer(self.folder)
        self.failed: dict[str, str] = {}
        self.passed: Counter[str] = Counter()

    def pytest_sessionstart(self) -> None:
        """Start the server and put its authority where the tests look for it."""
        self.server.start()
        here = Path.cwd() / "tests"
        here.mkdir(exist_ok=True)
        shutil.copy(self.folder / "ca.pem", here / "mosquitto.org.crt")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Lead the tests to the local server."""
        assert "site-packages" in str(aiomqtt.__file__), f"not the wheel: {aiomqtt.__file__}"
        ports = self.server.ports

        class LocalClient(aiomqtt.Client):
            def __init__(self, hostname: str, port: int = PUBLIC_PLAIN, **options: Any) -> None:  # noqa: ANN401 - handed on
                super().__init__(hostname, ports[port], **options)

        for module in {item.module for item in items if isinstance(item, pytest.Function)}:
            if hasattr(module, "HOSTNAME"):
                module.HOSTNAME = NAME
                module.Client = LocalClient

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember failures in any phase; skipped is not passed."""
        name = report.nodeid.removeprefix("tests/")
        if report.when == "call" and report.passed:
            self.passed[name] += 1
        elif not report.passed:
            self.failed[name] = str(report.longrepr).splitlines()[-1]

    def surprises(self) -> list[str]:
        """Return in which ways the outcome differs from what is expected."""
        problems = [f"fails: {it}" for it in self.failed if it not in FAILS]
        problems += [f"no longer fails: {it}" for it in FAILS if it not in self.failed]
        total = len(self.passed.keys() | self.failed.keys())
        if total != COUNT:
            problems.append(f"{total} tests ran, not {COUNT}")
        unknown = SHOWS_NOTHING.keys() - self.passed.keys()
        return problems + [f"did not pass: {it}" for it in unknown]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Stop the server; the exit code tells whether all is as expected."""
        self.server.stop()
        shutil.rmtree(self.folder)
        session.exitstatus = 1 if self.surprises() else 0

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:  # noqa: ANN401 - no public name in pytest 7
        """Say what was expected to fail and why, and what is not as expected."""
        write = terminalreporter.write_line
        terminalreporter.section("aiomqtt's own tests")
        write(f"{len(self.passed)} passed, {len(self.failed)} failed")
        for name in self.failed:
            write(f"fails: {name}: {FAILS.get(name, 'not expected')}")
        for name, reason in SHOWS_NOTHING.items():
            write(f"passes, but shows nothing: {name}: {reason}")
        for surprise in self.surprises():
            write(f"NOT AS EXPECTED (python/tests/upstream/expected.py): {surprise}", red=True)


def refuse_other_hosts() -> None:
    """Answer questions for names other than this machine's here, as a name server would."""
    resolve = socket.getaddrinfo

    def local(host: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - handed on
        if host not in (NAME, HOST, "::1", None):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    socket.getaddrinfo = local


def pytest_configure(config: pytest.Config) -> None:
    """Take part in this run."""
    refuse_other_hosts()
    config.pluginmanager.register(Upstream(), "upstream")
