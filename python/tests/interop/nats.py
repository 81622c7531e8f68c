"""nats-server: MQTT 3.1.1, at most QoS 1, sessions and retained messages kept in JetStream."""

from interop.server import HOST, LOGIN, Server, find


class Nats(Server):
    """Chooses its ports itself and names them in its log before it is ready."""

    name = "nats"
    start_seconds = 20
    ready = "Server is ready"
    told = r"(mqtt://[\d.]+:(?P<port>\d+)|ws://[\d.]+:(?P<websocket_port>\d+))"

    def launch(self) -> None:
        """Port -1 lets the system choose."""
        configuration = self.folder / "nats.conf"
        configuration.write_text(
            f"""
            server_name: ferromqtt_interop
            listen: "{HOST}:-1"
            jetstream {{ store_dir: "{self.folder}", max_memory_store: 64MB, max_file_store: 1GB }}
            mqtt {{ listen: "{HOST}:-1", ack_wait: "1s", max_ack_pending: 1000 }}
            websocket {{ listen: "{HOST}:-1", no_tls: true }}
            authorization {{
                users: [{{ user: "{LOGIN.username}", password: "{LOGIN.password}" }}]
            }}
            no_auth_user: "{LOGIN.username}"
            """
        )
        self.run(find("nats-server", "nats-server"), "-c", str(configuration))
