#!/usr/bin/env bash
# Usage: test-wheel.sh VENV [pytest option...]
# Runs the Python tests on the wheels that VENV has installed, with no compiler in reach.
set -euo pipefail

venv=$1
shift

# What the tests themselves start, and nothing else of the system.
programs=(mosquitto mosquitto_passwd openssl)
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
for program in "${programs[@]}"; do
    ln -s "$(PATH=$PATH:/usr/sbin command -v "$program")" "$tools/$program"
done

env -u PYTHONPATH PATH="$PWD/$venv/bin:$tools" "$venv/bin/python" - <<'CHECK'
import pathlib
import shutil
import sys

import ferromqtt

assert pathlib.Path(ferromqtt.__file__).is_relative_to(pathlib.Path(sys.prefix)), (
    f"the tests would run on {ferromqtt.__file__}, which is not the wheel"
)
assert not any(map(shutil.which, ("cc", "gcc", "cargo", "rustc"))), "a compiler is in reach"
CHECK
env -u PYTHONPATH PATH="$PWD/$venv/bin:$tools" "$venv/bin/python" -m pytest "$@"
