#!/usr/bin/env bash
# Usage: apt-install.sh [--sudo] PACKAGE
# Installs a Debian package without starting its service: the tests start their own brokers, on free ports, with their own
# configuration. Only as root, or where CI is set, or when told that it may call sudo, as `make deps` does: a test run must
# not change somebody's system.
set -euo pipefail

may_sudo=${CI:-}
if [ "$1" = --sudo ]; then
    may_sudo=1
    shift
fi
package=$1
policy=/usr/sbin/policy-rc.d

fail() {
    printf 'apt-install.sh: %s\n' "$@" >&2
    exit 1
}

command -v apt-get >/dev/null ||
    fail "$package is missing, and there is no apt-get: install your system's equivalent, then try again"
root=()
if [ "$(id -u)" -ne 0 ]; then
    [ -n "$may_sudo" ] || fail "the Debian package $package is missing: put 'deps' before the target, as in 'make deps test'"
    root=(sudo ${CI:+-n})
fi

# Debian asks this file before it starts a service; 101 means "no". One that is
# there already belongs to the machine and stays as it is.
if [ ! -e "$policy" ]; then
    trap '"${root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
    "${root[@]}" chmod 755 "$policy"
fi

# A lock held by another apt is waited for, not fought over.
apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "$package"
