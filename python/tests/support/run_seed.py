"""Runs one program unchanged while "test.mosquitto.org" means an address of the test's choice.

Usage: run_seed.py PROGRAM ADDRESS. It is a program of its own so that nothing of the test's
process, not even an import, can help the program under test.
"""

import runpy
import socket
import sys
from typing import Any

NAME = "test.mosquitto.org"


def main(program: str, address: str) -> None:
    """Redirect name resolution, then run the program as `python PROGRAM` would."""
    real = socket.getaddrinfo

    def redirected(host: str | bytes | None, *arguments: Any, **options: Any) -> list[Any]:  # noqa: ANN401
        name = host.decode() if isinstance(host, bytes) else host
        return real(address if name == NAME else host, *arguments, **options)

    socket.getaddrinfo = redirected
    runpy.run_path(program, run_name="__main__")
    # every published value has to have come from our own shim, not from another `aiomqtt`
    print(sys.modules["aiomqtt"].__file__)


if __name__ == "__main__":
    main(*sys.argv[1:])
