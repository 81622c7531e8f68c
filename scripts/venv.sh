#!/usr/bin/env bash
# Usage: venv.sh DIR | venv.sh --packages-only
# Creates the Python virtual environment DIR with $PYTHON (python3 by default).
# Debian ships venv as a package of its own: it is installed when missing, and with --packages-only nothing else is done.
set -euo pipefail

directory=$1
sudo=()
[ "$directory" != --packages-only ] || sudo=(--sudo)
python=${PYTHON:-python3}

command -v "$python" >/dev/null || {
    echo "venv.sh: $python not found; install Python 3.11 or newer, or set PYTHON" >&2
    exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "venv.sh: $("$python" --version) is too old; install Python 3.11 or newer, or set PYTHON" >&2
    exit 1
}
# ensurepip is the part of venv that Debian splits off.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    "$(dirname "$0")/apt-install.sh" "${sudo[@]}" python3-venv
    "$python" -c 'import ensurepip' || {
        echo "venv.sh: $python still has no ensurepip; install its venv package, or set PYTHON" >&2
        exit 1
    }
fi
[ "$directory" != --packages-only ] || exit 0
"$python" -m venv --clear "$directory"
