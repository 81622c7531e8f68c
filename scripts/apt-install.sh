#!/usr/bin/env bash
# Usage: apt-install.sh PACKAGE
# Installs a Debian package, as root or through sudo, without starting its service:
# the tests start their own brokers, on free ports, with their own configuration.
set -euo pipefail

package=$1
policy=/usr/sbin/policy-rc.d

root=()
if ! command -v apt-get >/dev/null || { [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; }; then
    echo "apt-install.sh: $package is missing and cannot be installed from here." >&2
    echo "apt-install.sh: run 'sudo apt-get install $package' (or your system's equivalent), then try again." >&2
    exit 1
fi
[ "$(id -u)" -eq 0 ] || root=(sudo -n)

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
