"""Read where the broker is, and who asks, from a text such as an environment variable.

A text that cannot be used ends the program with a reason, which does not repeat a password.

It prints:

    mqtt://localhost:1883 as nobody
    mqtt://broker.example:1884 as nobody
    mqtts://broker.example:8883 as station, password 's/cret'
"""

import sys
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Broker(NamedTuple):
    """What the arguments of `Client` are taken from."""

    scheme: str
    host: str
    port: int
    path: str
    username: str | None
    password: str | None

    def __str__(self) -> str:
        """Show where it is, and no password or token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def read_broker(text: str, **usual_ports: int) -> Broker:
    """Read a URL with one of these schemes; the first may be left out."""
    try:
        return parse(text, usual_ports)
    except ValueError:
        forms = " or ".join(f"{scheme}://user:password@host:port" for scheme in usual_ports)
        given = "BROKER" if text else "the environment variable BROKER is not set: it"
        sys.exit(
            f"{given} must be host, host:port or {forms}; "
            "in user and password, write / as %2F, : as %3A and @ as %40"
        )


def parse(text: str, usual_ports: dict[str, int]) -> Broker:
    first = next(iter(usual_ports))
    url = urlsplit(text if "://" in text else f"{first}://{text}")
    port = usual_ports.get(url.scheme, 0) if url.port is None else url.port
    path = url.path + (f"?{url.query}" if url.query else "")
    clean = not url.fragment and (url.scheme in {"ws", "wss"} or path in {"", "/"})
    if url.scheme not in usual_ports or not url.hostname or not port or not clean:
        raise ValueError
    user, password = (part and unquote(part) for part in (url.username, url.password))
    return Broker(url.scheme, url.hostname, port, path, user, password)


if __name__ == "__main__":
    print(read_broker("localhost", mqtt=1883), "as nobody")
    print(read_broker("broker.example:1884", mqtt=1883), "as nobody")
    station = read_broker("mqtts://station:s%2Fcret@broker.example", mqtt=1883, mqtts=8883)
    print(station, f"as {station.username}, password {station.password!r}")
