"""rabbitmq-server: MQTT 3.1 and 3.1.1, at most QoS 1, as a plugin."""

from pathlib import Path

from interop.server import HOST, LOGIN, Server, find
from support.mosquitto import free_port


class RabbitMQ(Server):
    """Run with folders of its own and a port mapper (epmd) of its own, all on loopback."""

    name = "rabbitmq"
    start_seconds = 100
    ready = "Server startup complete"
    websocket_path = "/ws"

    def launch(self) -> None:
        """Write the configuration, start epmd, start the server."""
        scripts = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
        assert scripts, (
            "these tests need rabbitmq-server, install it with: apt-get install rabbitmq-server"
        )
        self.port, self.websocket_port = free_port(HOST), free_port(HOST)
        amqp, distribution, mapper = (free_port(HOST) for _ in range(3))
        configuration = self.folder / "rabbitmq.conf"
        configuration.write_text(
            f"""
listeners.tcp.1 = {HOST}:{amqp}
default_user = {LOGIN.username}
default_pass = {LOGIN.password}
mqtt.listeners.tcp.1 = {HOST}:{self.port}
mqtt.allow_anonymous = true
mqtt.default_user = {LOGIN.username}
mqtt.default_pass = {LOGIN.password}
mqtt.subscription_ttl = 3600000
web_mqtt.tcp.ip = {HOST}
web_mqtt.tcp.port = {self.websocket_port}
log.file = false
log.console = true
log.console.level = info
"""
        )
        (self.folder / "plugins").write_text("[rabbitmq_mqtt, rabbitmq_web_mqtt].\n")
        environment = {
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_ALLOW_INPUT": "true",  # replaces the shell by the VM: one process to stop
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_NODENAME": f"interop{self.port}@localhost",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput +S 2:2 -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }
        epmd = find("epmd", "rabbitmq-server", path="/usr/lib/erlang/bin")
        self.run(epmd, environment=environment, helper=True)
        self.run(str(scripts[-1] / "rabbitmq-server"), environment=environment)
