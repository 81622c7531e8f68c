#!/usr/bin/env bash
# Usage: public-api.sh [--check]
# Writes what each library crate offers, all features on, to docs/api/; with --check tells what differs from it.
set -euo pipefail
cd "$(dirname "$0")/.."

crates=(ferromqtt ferromqtt-engine ferromqtt-outbox ferromqtt-proto ferromqtt-recording ferromqtt-store ferromqtt-testing ferromqtt-transport)
target=${CARGO_TARGET_DIR:-target}/api
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# rustdoc's JSON is for nightly, or for those who say that they know.
export RUSTC_BOOTSTRAP=1
for crate in "${crates[@]}"; do
    CARGO_TARGET_DIR=$target cargo rustdoc --quiet ${LOCKED:-} -p "$crate" --lib --all-features -- \
        -Z unstable-options --output-format json
    .tools/bin/cargo-public-api public-api -sss --rustdoc-json "$target/doc/${crate//-/_}.json" >"$made/$crate.txt"
done

if [ "${1-}" != --check ]; then
    mkdir -p docs/api
    cp "$made"/*.txt docs/api/
elif ! diff --unified=0 docs/api "$made"; then
    echo "public-api.sh: what the crates offer has changed (above). If it is meant to: run 'make api', and say so in CHANGELOG.md." >&2
    exit 1
fi
