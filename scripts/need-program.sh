#!/usr/bin/env bash
# Usage: need-program.sh [--sudo] PROGRAM[=PACKAGE]...
# Makes sure that each PROGRAM can be run, by installing the Debian PACKAGE that holds it (apt-install.sh says when it may).
set -euo pipefail

# Servers are installed here, and not every user's PATH has it. PostgreSQL's are in no PATH.
PATH=$PATH:/usr/sbin
postgres_path() {
    printf ':%s' /usr/lib/postgresql/*/bin
}

here=$(dirname "$0")
sudo=()
if [ "$1" = --sudo ]; then
    sudo=(--sudo)
    shift
fi
for needed in "$@"; do
    program=${needed%%=*}
    package=${needed#*=}
    PATH=$PATH$(postgres_path) command -v "$program" >/dev/null && continue
    "$here/apt-install.sh" "${sudo[@]}" "$package"
    PATH=$PATH$(postgres_path) command -v "$program" >/dev/null || {
        echo "need-program.sh: package $package is installed, but $program is still not found" >&2
        exit 1
    }
done
