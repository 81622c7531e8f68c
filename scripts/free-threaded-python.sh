#!/usr/bin/env bash
# Usage: free-threaded-python.sh DIR
# Builds CPython without the GIL and installs it in DIR, for `make free-threaded`. Debian has no package of such a build, but it
# has the source of one: that of the release below, from the archive that this machine's apt uses, and checked by apt.
set -euo pipefail

version=3.14 # the oldest whose free-threaded build PyO3 supports
release=forky # the Debian release whose source it is
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    printf 'free-threaded-python.sh: %s\n' "$@" >&2
    exit 1
}

directory=$(realpath -m "$1")
command -v apt-get >/dev/null ||
    fail "there is no apt-get to fetch CPython's source with: set FREE_THREADED_PYTHON to a python${version}t that you have"
archive=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | sort -u | head -1)
[ -n "$archive" ] || fail "apt knows no Debian archive: run 'apt-get update', or set FREE_THREADED_PYTHON"

# A state of its own: the lists and sources of the machine stay as they are.
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state"/{lists,cache/archives}/partial "$state/source"
echo "deb-src [signed-by=$keyring] $archive $release main" >"$state/sources.list"
apt=(apt-get -q -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" -o APT::Sandbox::User=)
"${apt[@]}" update
(cd "$state/source" && "${apt[@]}" source --download-only "python$version")

mkdir "$state/build"
tar -xf "$state"/source/*.orig.tar.* -C "$state/build" --strip-components=1
cd "$state/build"
# Neither optimised nor with its tests: it is to be built in a few minutes.
./configure --quiet --disable-gil --disable-test-modules --with-ensurepip=install --prefix="$directory"
make --quiet --jobs="$(nproc)"
make --quiet install
"$directory/bin/python${version}t" -c 'import ssl, sys; sys.exit(sys._is_gil_enabled())' ||
    fail "the interpreter built in $directory has the GIL, or no module ssl (the Debian package libssl-dev)"
