"""ejabberd: MQTT 3.1.1 and 5.0, for users that it knows."""

from pathlib import Path

from interop.server import HOST, LOGIN, Server, find
from support.mosquitto import free_port

# Tries to register the user until the server is up to it, and says so.
REGISTER = f"""
    Try = fun(_, 0) -> io:format("no user could be registered~n");
             (Again, Left) ->
        case catch ejabberd_auth:try_register(
            <<"{LOGIN.username}">>, <<"localhost">>, <<"{LOGIN.password}">>) of
            ok -> io:format("the user is there~n");
            _ -> timer:sleep(100), Again(Again, Left - 1)
        end
    end,
    spawn(fun() -> Try(Try, 600) end).
"""


class Ejabberd(Server):
    """Run on the Erlang VM directly: the packaged script wants the packaged configuration."""

    name = "ejabberd"
    start_seconds = 60
    # Printed by the program below when the user is registered, which is the last thing to happen.
    ready = "the user is there"
    anonymous = False

    def launch(self) -> None:
        """Write the configuration, start the VM, register the user."""
        erl = find("erl", "ejabberd")
        libraries = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin"))
        assert libraries, "these tests need ejabberd, install it with: apt-get install ejabberd"
        self.port, self.websocket_port = free_port(HOST), free_port(HOST)
        configuration = self.folder / "ejabberd.yml"
        configuration.write_text(
            f"""
hosts: [localhost]
loglevel: warning
auth_method: [internal]
allow_multiple_connections: true
listen:
  - {{port: {self.port}, ip: "{HOST}", module: mod_mqtt, backlog: 100}}
  - {{port: {self.websocket_port}, ip: "{HOST}", module: ejabberd_http,
      request_handlers: {{"{self.websocket_path}": mod_mqtt}}}}
modules:
  mod_mqtt: {{session_expiry: 3600, max_queue: 100000, max_topic_aliases: 100}}
"""
        )
        (self.folder / "home").mkdir()
        self.run(
            erl,
            *("+S", "2:2", "-noinput"),
            *("-mnesia", "dir", f'"{self.folder / "spool"}"'),
            *("-s", "ejabberd", "-eval", REGISTER),
            environment={
                "HOME": str(self.folder / "home"),
                "ERL_LIBS": str(libraries[-1].parents[1]),
                "EJABBERD_CONFIG_PATH": str(configuration),
                "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
                "ERL_CRASH_DUMP": str(self.folder / "crash.dump"),
            },
        )
