"""mosquitto: all versions, nearly everything, so that every scenario is played somewhere."""

import subprocess

from interop.server import HOST, LOGIN, Server, find
from support.mosquitto import free_port


class Mosquitto(Server):
    """Drops root's rights, unless told to keep them: it must read and write the folder."""

    name = "mosquitto"
    start_seconds = 15
    ready = " running$"

    def launch(self) -> None:
        """Write the passwords and the configuration."""
        self.port, self.login_port, self.websocket_port = (free_port(HOST) for _ in range(3))
        passwords = self.folder / "passwords"
        hasher = find("mosquitto_passwd", "mosquitto")
        subprocess.run(
            [hasher, "-b", "-c", str(passwords), LOGIN.username, LOGIN.password],
            check=True,
            timeout=30,
        )
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(
            f"""
            user root
            per_listener_settings true
            set_tcp_nodelay true
            max_queued_messages 10000
            persistence false
            log_dest stderr
            listener {self.port} {HOST}
            allow_anonymous true
            listener {self.login_port} {HOST}
            allow_anonymous false
            password_file {passwords}
            listener {self.websocket_port} {HOST}
            protocol websockets
            allow_anonymous true
            """
        )
        self.run(find("mosquitto", "mosquitto"), "-c", str(configuration))
