"""The servers, each started when first needed; the places where each scenario is played."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ferromqtt import Client, PacketTypes, Properties, ProtocolVersion
from interop.gaps import GAPS, V5, Place, places_for, places_without
from interop.server import LOGIN, NotHere, Server
from support.clients import LIMIT

NOT_RUN: dict[type[Server], str] = {}
"""Why a server is not run on this machine, for the summary."""


class Servers:
    """Those that were started; one that does not start is not tried again."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._running: dict[type[Server], Server] = {}
        self._failed: dict[type[Server], BaseException] = {}

    def get(self, kind: type[Server]) -> Server:
        """Return the running server, starting it the first time."""
        if kind in self._failed:
            raise self._failed[kind]
        if kind not in self._running:
            server = kind(self._factory.mktemp(kind.name))
            try:
                server.start()
            except NotHere as error:
                NOT_RUN[kind] = str(error)
                self._failed[kind] = error
                raise
            except AssertionError as error:
                self._failed[kind] = error
                raise
            self._running[kind] = server
        return self._running[kind]

    def stop(self) -> None:
        """Stop them all."""
        for server in self._running.values():
            server.stop()


@dataclass(frozen=True)
class Here:
    """The running server of a scenario, and the version to speak to it in."""

    server: Server
    version: ProtocolVersion

    @property
    def login_port(self) -> int:
        """Where a wrong login is refused."""
        return self.server.login_port or self.server.port

    def client(self, **options: Any) -> Client:  # noqa: ANN401 - whatever the client takes
        """Return a client of this server; these options go over the usual ones."""
        usual: dict[str, Any] = {
            "hostname": self.server.host,
            "port": self.server.port,
            "protocol": self.version,
            "timeout": LIMIT,
            "strict": True,  # what a server slips in is to be seen, and stands in docs/tolerance.md
        }
        if not self.server.anonymous:
            usual |= {"username": LOGIN.username, "password": LOGIN.password}
        client = Client(**usual | options)
        client.pending_calls_threshold = 1000
        return client

    def lasting_client(self, identifier: str, **options: Any) -> Client:  # noqa: ANN401 - as above
        """Return a client whose session outlives its connection."""
        if self.version is V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            options |= {"clean_start": False, "properties": properties}
        else:
            options["clean_session"] = False
        return self.client(identifier=identifier, **options)

    def websocket_client(self, **options: Any) -> Client:  # noqa: ANN401 - as above
        """Return a client that comes over WebSocket."""
        usual = {
            "port": self.server.websocket_port,
            "transport": "websockets",
            "websocket_path": self.server.websocket_path,
        }
        return self.client(**usual | options)


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers of the scenarios."""
    config.addinivalue_line("markers", "needs(*features): play it where the server has these")
    config.addinivalue_line(
        "markers", "versions(*versions): play it in these versions of MQTT only"
    )
    config.addinivalue_line("markers", "lacks(feature): play it where the server has this not")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the places of each scenario by its markers."""
    if "here" not in metafunc.fixturenames:
        return
    test = metafunc.definition
    lacks = test.get_closest_marker("lacks")
    if lacks is not None:
        places = places_without(*lacks.args, **lacks.kwargs)
    else:
        needs = [feature for mark in test.iter_markers("needs") for feature in mark.args]
        versions = test.get_closest_marker("versions")
        places = places_for(needs, versions.args if versions else ProtocolVersion)
    metafunc.parametrize("here", places, indirect=True, ids=str)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was not run, and what the servers lack."""
    for kind, reason in NOT_RUN.items():
        terminalreporter.section(f"{kind.name} was NOT RUN", red=True)
        terminalreporter.write_line(reason)
    terminalreporter.section("gaps of the servers")
    for gap in GAPS:
        places = places_without(gap.feature, (gap.server,))
        versions = ", ".join(it.version.name for it in places if it.gap(gap.feature) is gap)
        noticed = "" if gap.observed else " (depends on the moment: not asserted)"
        terminalreporter.write_line(
            f"{gap.server.name:9} {versions:13} {gap.feature.value}: {gap.reason}{noticed}"
        )


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Give the servers that are running, and start the others."""
    running = Servers(tmp_path_factory)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def here(request: pytest.FixtureRequest, servers: Servers) -> Here:
    """Each place in turn: a server and a version of MQTT."""
    place: Place = request.param
    try:
        return Here(servers.get(place.server), place.version)
    except NotHere as error:
        pytest.skip(f"{place.server.name} is not run: {error}")
