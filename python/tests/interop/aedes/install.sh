#!/usr/bin/env bash
# Usage: install.sh DIR
# Installs the aedes of package-lock.json into DIR/node_modules. Where Node.js or npm is missing
# and cannot be installed, or Node.js is too old, the reason goes to DIR/not-run: the tests tell it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
scripts=$here/../../../../scripts
directory=$1
least=20

mkdir -p "$directory"
rm -rf "$directory/not-run" "$directory/node_modules"

not_run() {
    echo "install.sh: aedes will not be run: $1" >&2
    echo "$1" >"$directory/not-run"
    exit 0
}

"$scripts/need-program.sh" node nodejs || not_run "Node.js is missing and cannot be installed here"
"$scripts/need-program.sh" npm npm || not_run "npm is missing and cannot be installed here"
node -e "process.exit(parseInt(process.versions.node) < $least ? 1 : 0)" ||
    not_run "Node.js $(node --version) is too old, it needs $least or newer"

cp "$here/package.json" "$here/package-lock.json" "$directory/"
cd "$directory"
npm ci --ignore-scripts --no-audit --no-fund
