#!/usr/bin/env bash
# Usage: free-threaded-python.sh DIR
# Builds CPython without the GIL and installs it in DIR, for `make free-threaded`. Debian has no package of such a build, but it
# has the source of one, which is taken from the archive that this machine's apt uses, and checked by apt.
set -euo pipefail

# Versions of CPython with the Debian release that has their source, the best first. 3.14 is the oldest whose free-threaded
# build PyO3 supports: of 3.13 it says that it does not, and builds the module all the same (docs/design/0055-free-threaded.md).
candidates=(3.14=forky 3.13=trixie)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    printf 'free-threaded-python.sh: %s\n' "$@" >&2
    exit 1
}

directory=$(realpath -m "$1")
command -v apt-get >/dev/null ||
    fail "there is no apt-get to fetch CPython's source with: install a free-threaded CPython in $directory by hand"
archive=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | sort -u | head -1)
[ -n "$archive" ] || fail "apt knows no Debian archive: run 'apt-get update' first"

# A state of its own: the lists and sources of the machine stay as they are.
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state"/{lists,cache/archives}/partial "$state"/{source,build}
apt=(apt-get -q -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" -o APT::Sandbox::User=)
for candidate in "${candidates[@]}"; do
    version=${candidate%%=*}
    echo "deb-src [signed-by=$keyring] $archive ${candidate#*=} main" >"$state/sources.list"
    if "${apt[@]}" update && (cd "$state/source" && "${apt[@]}" source --download-only "python$version"); then
        break
    fi
    echo "free-threaded-python.sh: the archive does not deliver the source of CPython $version" >&2
done
sources=("$state/source/python$version"_*.orig.tar.xz)
[ -e "${sources[0]}" ] || fail "no source of CPython could be had"

tar -xf "${sources[0]}" -C "$state/build" --strip-components=1
cd "$state/build"
# Neither optimised nor with its tests: it is to be built in a few minutes.
./configure --quiet --disable-gil --disable-test-modules --with-ensurepip=install --prefix="$directory"
make --quiet --jobs="$(nproc)"
make --quiet install
"$directory/bin/python3" -c 'import ssl, sys; sys.exit(sys._is_gil_enabled())' ||
    fail "the interpreter built in $directory has the GIL, or no module ssl (the Debian package libssl-dev)"
