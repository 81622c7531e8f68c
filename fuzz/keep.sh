#!/usr/bin/env bash
# Usage: keep.sh TARGET
# Puts into fuzz/corpus/TARGET a few inputs, of those there and those that runs found here, which together reach nearly
# all the code that any of them reaches. Inputs with names were written by hand, and stay.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$1
most=100
corpus=fuzz/corpus/$target
found=fuzz/target/found/$target
mkdir -p "$found"

# The inputs whose names are hashes, in the order in which they were written.
hashed() {
    find "$corpus" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -printf '%T@ %p\n' | sort -n | cut -d' ' -f2
}

hashed | xargs -r mv -t "$found"
export RUSTC_BOOTSTRAP=1
# Which code is reached counts, and not how often. What adds most is written first.
.tools/bin/cargo-fuzz fuzz run --fuzz-dir fuzz --sanitizer none "$target" "$corpus" "$found" -- \
    -set_cover_merge=1 -use_counters=0 -verbosity=0
hashed | tail -n +$((most + 1)) | xargs -r rm
echo "keep.sh: $corpus holds $(find "$corpus" -type f | wc -l) inputs in $(du -b -s "$corpus" | cut -f1) bytes"
