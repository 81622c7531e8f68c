"""Clusters of three nodes on loopback: RabbitMQ with quorum queues, NATS with JetStream.

Each node is a process with a folder, ports and a configuration of its own. A node is killed by its
process number, and started again in the same folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

HOST = "127.0.0.1"
COUNT = 3
_STOP_SECONDS = 20
_CONSUMER = ("delivered", "ack_floor", "num_ack_pending", "num_redelivered", "num_pending")
"""What a report has of each consumer of JetStream."""


def free_ports(count: int) -> list[int]:
    """Return ports that nothing uses at this moment, below those that systems give out."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 2_000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            found.append(port)
        if len(found) == count:
            return found
    message = "no ports are free"
    raise RuntimeError(message)


def find(program: str, package: str, *folders: str) -> str:
    """Return the program's path, looking also where Debian puts servers."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", *folders))
    found = shutil.which(program, path=path)
    if found is None:
        message = f"{program} is missing: make deps cluster, or apt-get install {package}"
        raise FileNotFoundError(message)
    return found


class NotReadyError(Exception):
    """A node did not begin its work in the cluster."""


class Cluster:
    """Three nodes. `start` returns when all of them work together."""

    name: ClassVar[str]
    user: ClassVar[str]
    """Whom the nodes run as when root starts them."""
    ready_seconds: ClassVar[float]

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"ferromqtt-{self.name}-"))
        self.ports = free_ports(COUNT)
        """Of MQTT, node by node."""
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._helpers: list[subprocess.Popen[bytes]] = []

    # What a kind of cluster has to say

    def version(self) -> str:
        """Return which program it is."""
        raise NotImplementedError

    def command(self, node: int) -> tuple[list[str], dict[str, str]]:
        """Write the configuration of a node; return its command and environment."""
        raise NotImplementedError

    def is_ready(self, node: int) -> bool:
        """Whether a node that runs does its work in the cluster."""
        raise NotImplementedError

    def report(self) -> str:
        """Return what the nodes say of sessions and their messages, for a run that failed."""
        return ""

    def withheld(self) -> int:
        """Return how many messages the cluster has for a session, and does not mean to deliver."""
        return 0

    # What all have in common

    def start(self) -> None:
        """Start all nodes."""
        for node in range(COUNT):
            self.start_node(node)
        for node in range(COUNT):
            self.wait_until_ready(node)

    def start_node(self, node: int) -> None:
        """Start a node, for the first time or again."""
        folder = self.folder / f"node{node}"
        folder.mkdir(exist_ok=True)
        command, environment = self.command(node)
        with (folder / "output.log").open("ab") as output:
            self._processes[node] = self.run(command, environment, output)

    def run(
        self, command: list[str], environment: dict[str, str], output: object = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a program in the folder, as another user if this one is root."""
        who: dict[str, object] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam(self.user)
            subprocess.run(["chown", "-R", self.user, str(self.folder)], check=True)
            who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **who,
        )

    def wait_until_ready(self, node: int) -> None:
        """Wait until a node works in the cluster."""
        end = time.monotonic() + self.ready_seconds
        while time.monotonic() < end:
            if self._processes[node].poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self.is_ready(node):
                    return
            time.sleep(0.2)
        log = (self.folder / f"node{node}" / "output.log").read_text(errors="replace")
        print(
            f"  the last lines of node {node}:", *log.splitlines()[-30:], sep="\n    ", flush=True
        )
        message = (
            f"node {node} of {self.name} was not ready {self.ready_seconds:.0f} s after its start"
        )
        raise NotReadyError(message)

    def kill(self, node: int) -> None:
        """Kill a node at once: it can say goodbye to nobody."""
        process = self._processes[node]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        started = [*self._processes.values(), *self._helpers]
        for process in started:
            if process.poll() is None:
                process.terminate()
        for process in started:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nats(Cluster):
    """nats-server: sessions, and messages for them, lie in JetStream with three replicas."""

    name = "nats"
    user = "nobody"
    ready_seconds = 60

    def __init__(self) -> None:
        super().__init__()
        # A copy that the user of the nodes can reach, wherever this environment lies.
        self._program = str(shutil.copy(_nats_server(), self.folder))
        more = free_ports(3 * COUNT)
        self._clients, self._routes, self._monitors = more[:3], more[3:6], more[6:]

    def version(self) -> str:
        done = subprocess.run([self._program, "--version"], capture_output=True, check=True)
        return done.stdout.decode().strip()

    def command(self, node: int) -> tuple[list[str], dict[str, str]]:
        folder = self.folder / f"node{node}"
        routes = ", ".join(f'"nats-route://{HOST}:{port}"' for port in self._routes)
        (folder / "nats.conf").write_text(
            f"""
            server_name: n{node}
            listen: "{HOST}:{self._clients[node]}"
            http: "{HOST}:{self._monitors[node]}"
            jetstream {{ store_dir: "{folder}", max_memory_store: 64MB, max_file_store: 512MB }}
            cluster {{
                name: ferromqtt, listen: "{HOST}:{self._routes[node]}", routes: [{routes}]
                no_advertise: true
            }}
            mqtt {{
                listen: "{HOST}:{self.ports[node]}", stream_replicas: 3
                ack_wait: "5s", max_ack_pending: 1000
            }}
            """
        )
        return [self._program, "-c", str(folder / "nats.conf")], {}

    def is_ready(self, node: int) -> bool:
        """Whether the node runs, and has what the others have of sessions and messages.

        Not `/healthz` alone: nats-server 2.9.10 says for minutes after a restart that a consumer
        of $MQTT_rmsgs, of which each node makes a new one, is not current.
        """
        if b'"ok"' not in self._ask(node, "healthz?js-server-only=true"):
            return False
        followers = Counter[str]()
        for other in range(COUNT):
            for stream in self._streams(other):
                members = [(stream["name"], stream)]
                if stream["name"] != "$MQTT_rmsgs":
                    consumers = stream.get("consumer_detail") or ()
                    members += [(f"{stream['name']} {it['name']}", it) for it in consumers]
                for name, member in members:
                    followers[name] += 0
                    if _leader(member) == f"n{other}":
                        followers[name] += sum(
                            it["current"] for it in member["cluster"].get("replicas", ())
                        )
        return all(number == COUNT - 1 for number in followers.values())

    def _streams(self, node: int) -> Iterator[dict[str, Any]]:
        state = json.loads(self._ask(node, "jsz?streams=true&consumers=true&accounts=true"))
        for account in state.get("account_details") or ():
            yield from account.get("stream_detail") or ()

    def report(self) -> str:
        lines = []
        for node in range(COUNT):
            try:
                streams = [*self._streams(node)]
            except OSError as error:
                lines.append(f"n{node}: {error}")
                continue
            for stream in streams:
                if stream["name"] != "$MQTT_msgs":
                    continue
                where = stream.get("cluster", {})
                lines.append(f"n{node}: stream {where}, {stream['state']}")
                for it in stream.get("consumer_detail") or ():
                    what = ", ".join(f"{name} {it.get(name)}" for name in _CONSUMER)
                    lines.append(f"n{node}: consumer {it.get('cluster')}, {what}")
            log = (self.folder / f"node{node}" / "output.log").read_text(errors="replace")
            lines += [line for line in log.splitlines()[-400:] if "leader" in line][-20:]
        return "\n".join(lines)

    def withheld(self) -> int:
        # A message leaves the stream when its session has acknowledged it. One that is there, and
        # neither waits for delivery nor for its acknowledgement, is withheld.
        found = 0
        for node in range(COUNT):
            with contextlib.suppress(OSError):
                for stream in self._streams(node):
                    for it in stream.get("consumer_detail") or ():
                        if stream["name"] != "$MQTT_msgs" or _leader(it) != f"n{node}":
                            continue
                        expected = it["num_pending"] + it["num_ack_pending"]
                        found = max(found, stream["state"]["messages"] - expected)
        return found

    def _ask(self, node: int, what: str) -> bytes:
        where = f"http://{HOST}:{self._monitors[node]}/{what}"
        with urllib.request.urlopen(where, timeout=2) as answer:
            body: bytes = answer.read()
            return body


def _nats_server() -> str:
    """Return the program that `make cluster` installs, or the one that the environment names."""
    here = str(Path(sys.executable).parent)
    named = os.environ.get("NATS_SERVER") or shutil.which("nats-server", path=here)
    if named is None:
        message = (
            "nats-server is missing: make cluster installs it, and NATS_SERVER names another one"
        )
        raise FileNotFoundError(message)
    return named


def _leader(member: dict[str, Any]) -> str | None:
    """Return which node leads a stream or consumer."""
    leader: str | None = member.get("cluster", {}).get("leader")
    return leader


class RabbitMQ(Cluster):
    """rabbitmq-server: a session that outlives its connection is a quorum queue on all nodes."""

    name = "rabbitmq"
    user = "rabbitmq"
    ready_seconds = 180

    def __init__(self) -> None:
        super().__init__()
        scripts = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
        if not scripts:
            find("rabbitmq-server", "rabbitmq-server")
        self._scripts = scripts[-1]
        *more, self._mapper = free_ports(2 * COUNT + 1)
        self._amqp, self._distribution = more[:3], more[3:]
        self._names = [f"mq{port}@localhost" for port in self.ports]
        letters = string.ascii_letters + string.digits
        self._cookie = "".join(secrets.choice(letters) for _ in range(24))

    def version(self) -> str:
        return self._scripts.parent.name.replace("rabbitmq_server-", "rabbitmq-server ")

    def start(self) -> None:
        epmd = find("epmd", "rabbitmq-server", "/usr/lib/erlang/bin")
        (self.folder / "home").mkdir()
        cookie = self.folder / "home" / ".erlang.cookie"
        cookie.write_text(self._cookie)
        cookie.chmod(0o400)
        self._helpers.append(self.run([epmd], self._environment()))
        # The first one forms the cluster, and the others join it.
        for node in range(COUNT):
            self.start_node(node)
            self.wait_until_ready(node)

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder / "home"),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._mapper),
        }

    def command(self, node: int) -> tuple[list[str], dict[str, str]]:
        folder = self.folder / f"node{node}"
        nodes = "\n".join(
            f"cluster_formation.classic_config.nodes.{number} = {name}"
            for number, name in enumerate(self._names, 1)
        )
        (folder / "rabbitmq.conf").write_text(
            f"""
listeners.tcp.1 = {HOST}:{self._amqp[node]}
mqtt.listeners.tcp.1 = {HOST}:{self.ports[node]}
mqtt.allow_anonymous = true
mqtt.default_user = guest
mqtt.default_pass = guest
mqtt.durable_queue_type = quorum
mqtt.prefetch = 100
mqtt.subscription_ttl = 86400000
cluster_formation.peer_discovery_backend = classic_config
{nodes}
cluster_formation.target_cluster_size_hint = {COUNT}
cluster_partition_handling = pause_minority
net_ticktime = 5
log.console = true
log.console.level = info
log.file = false
"""
        )
        (folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        environment = self._environment() | {
            "RABBITMQ_ALLOW_INPUT": "true",  # replaces the shell by the VM: one process to kill
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(self._distribution[node]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_NODENAME": self._names[node],
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput +S 2:2 -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }
        return [str(self._scripts / "rabbitmq-server")], environment

    def is_ready(self, node: int) -> bool:
        log = (self.folder / f"node{node}" / "output.log").read_text(errors="replace")
        started = log.rpartition("Starting RabbitMQ")[2]
        if "Server startup complete" not in started:
            return False
        with socket.create_connection((HOST, self.ports[node]), timeout=2):
            return True


CLUSTERS: dict[str, type[Cluster]] = {"rabbitmq": RabbitMQ, "nats": Nats}
