#!/usr/bin/env bash
# Usage: wheel.sh PYTHON DIR [maturin option...]
# Builds ferromqtt and ferromqtt-aiomqtt for the interpreter PYTHON into DIR, replacing what was there.
set -euo pipefail

python=$1 directory=$2
shift 2

rm -f "$directory"/ferromqtt-*.whl "$directory"/ferromqtt_aiomqtt-*.whl
"$python" -m maturin build --release --interpreter "$python" --out "$directory" "$@"
# The build requirements are pinned and installed already: no isolated environment that fetches its own.
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir "$directory" python/aiomqtt-shim
ls -l "$directory"/*.whl
