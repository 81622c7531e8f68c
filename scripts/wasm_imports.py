#!/usr/bin/env python3
"""Fail when a WebAssembly module imports anything: the core must not need an environment."""

import sys
from pathlib import Path

IMPORT_SECTION = 2
MORE = 0x80


def number(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned LEB128 number, and return it with the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & ~MORE) << shift
        shift += 7
        if not byte & MORE:
            return value, at


def imports(module: bytes) -> int:
    """Return how many things a module imports."""
    if module[:4] != b"\0asm":
        raise SystemExit("wasm_imports.py: this is no WebAssembly module")
    at = 8
    while at < len(module):
        section = module[at]
        length, at = number(module, at + 1)
        if section == IMPORT_SECTION:
            return number(module, at)[0]
        at += length
    return 0


def main() -> int:
    """Check the module named on the command line."""
    path = Path(sys.argv[1])
    module = path.read_bytes()
    count = imports(module)
    print(f"{path.name}: {len(module)} bytes, {count} imports from the environment")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
