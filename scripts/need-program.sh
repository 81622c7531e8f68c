#!/usr/bin/env bash
# Usage: need-program.sh PROGRAM PACKAGE
# Makes sure that PROGRAM can be run, by installing the Debian PACKAGE that holds it.
set -euo pipefail

# Servers are installed here, and not every user's PATH has it.
PATH=$PATH:/usr/sbin

command -v "$1" >/dev/null && exit 0
"$(dirname "$0")/apt-install.sh" "$2"
command -v "$1" >/dev/null || {
    echo "need-program.sh: package $2 is installed, but $1 is still not found" >&2
    exit 1
}
