"""aedes: MQTT 3.1 and 3.1.1 on Node.js, everything in memory."""

from pathlib import Path

from interop.server import LOGIN, NotHere, Server, find

HERE = Path(__file__).parent
INSTALLED = HERE.parents[3] / ".tools" / "aedes"


class Aedes(Server):
    """Runs server.js with the packages that `make interop` has installed."""

    name = "aedes"
    start_seconds = 20
    ready = "^ready on"
    told = (
        r"ready on (?P<port>\d+), with login on (?P<login_port>\d+),"
        r" WebSocket on (?P<websocket_port>\d+)"
    )

    def launch(self) -> None:
        """Start it; it prints its ports."""
        not_run = INSTALLED / "not-run"
        if not_run.exists():
            raise NotHere(not_run.read_text().strip())
        modules = INSTALLED / "node_modules"
        assert (modules / "aedes").is_dir(), (
            f"aedes is not in {modules}, install it with: make .tools/aedes/.installed"
        )
        self.run(
            find("node", "nodejs"),
            str(HERE / "server.js"),
            LOGIN.username,
            LOGIN.password,
            environment={"NODE_PATH": str(modules)},
        )
