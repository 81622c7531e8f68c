#!/usr/bin/env python3
"""Writes the tables of docs/server-profiles.md from the core's table of server profiles.

python scripts/server_profiles.py            writes them
python scripts/server_profiles.py --check    fails when they are out of date
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from ferromqtt.profiles import PROFILES, ServerProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAGE = Path(__file__).resolve().parent.parent / "docs" / "server-profiles.md"
BEGIN, END = "<!-- tables: scripts/server_profiles.py -->", "<!-- end of tables -->"
VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}

Column = tuple[str, "Callable[[ServerProfile], object]"]


def main() -> int:
    """Write or check the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail when they are out of date")
    check = parser.parse_args().check
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        print(f"{PAGE.name} has no place for the tables: {BEGIN} and {END}", file=sys.stderr)
        return 1
    written = f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"
    if not check:
        PAGE.write_text(written)
    elif written != page:
        print(f"{PAGE.name} is out of date: run scripts/server_profiles.py", file=sys.stderr)
        return 1
    return 0


def tables() -> str:
    """Return the tables and their sources."""
    reach: list[Column] = [
        ("checked with", lambda it: it.tested_with or "from documents"),
        ("MQTT", lambda it: ", ".join(VERSIONS[version] for version in it.versions)),
        ("plain", lambda it: it.port or "TLS only"),
        ("TLS", lambda it: it.tls_port),
        ("WebSocket, TLS", lambda it: it.secure_websocket_port),
        ("ALPN", lambda it: it.alpn and f"`{it.alpn[1]}` on {it.alpn[0]}"),
        ("SNI", lambda it: "needed" if it.needs_server_name else None),
        ("Client Identifier", identifier),
    ]
    limits: list[Column] = [
        ("QoS", lambda it: it.maximum_qos),
        ("retain", lambda it: "not kept" if it.no_retain else None),
        ("shared", lambda it: "none" if it.no_shared_subscriptions else None),
        ("payload", lambda it: size(it.payload_bytes)),
        ("packet", lambda it: size(it.packet_bytes)),
        ("topic", topic),
        ("filters per SUBSCRIBE", lambda it: it.filters_per_subscribe),
        ("Keep Alive", lambda it: it.keep_alive and f"1 to {it.keep_alive[1]} s"),
        ("in flight", lambda it: it.in_flight),
    ]
    parts = [
        "How they are reached, and by whom:",
        table(reach),
        "What they take at most; an empty cell is no limit, or none that a source was found for:",
        table(limits),
        "Where the figures come from:",
        "\n".join(sources()),
    ]
    return "\n\n".join(parts) + "\n"


def table(columns: list[Column]) -> str:
    """Return a table with a row for each profile."""
    lines = [line(["profile", *(title for title, _ in columns)])]
    lines.append(line(["---"] * (1 + len(columns))))
    for name, profile in PROFILES.items():
        cells = [value(profile) for _, value in columns]
        lines.append(line([f"`{name}`", *("" if it is None else str(it) for it in cells)]))
    return "\n".join(lines)


def line(cells: Iterable[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def identifier(profile: ServerProfile) -> str | None:
    """Return what a Client Identifier must be."""
    must = ["needed"] if profile.needs_identifier else []
    if profile.identifier_bytes:
        must.append(f"{profile.identifier_bytes} bytes at most")
    return ", ".join(must) or None


def topic(profile: ServerProfile) -> str | None:
    """Return what a topic may be."""
    may = []
    if profile.topic_bytes:
        may.append(f"{profile.topic_bytes} bytes")
    if profile.topic_levels:
        may.append(f"{profile.topic_levels} levels")
    if profile.refused_characters:
        shown = {" ": "space", ".": "`.`"}
        may.append("no " + " and no ".join(shown[it] for it in profile.refused_characters))
    return ", ".join(may) or None


def size(count: int | None) -> str | None:
    """Return a number of bytes for people."""
    if count is None:
        return None
    return f"{count >> 20} MiB" if count >> 20 else f"{count >> 10} KiB"


def sources() -> Iterable[str]:
    """Return a line for each source of each profile."""
    for name, profile in PROFILES.items():
        figures = defaultdict(list)
        for figure, source in profile.sources.items():
            figures[source].append(figure.replace("_", " "))
        for source, known in figures.items():
            yield f"- `{name}`: {', '.join(known)}: {source}"


if __name__ == "__main__":
    sys.exit(main())
