#!/usr/bin/env bash
# Usage: run.sh TARGET SECONDS [INPUT]
# Runs a fuzz target for that long, starting from the inputs in the repository and those that earlier runs found here.
# With INPUT, plays that one alone. What is found goes to fuzz/target/, so that a run leaves the checkout as it was.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$1
seconds=$2
input=${3-}

# Coverage is measured with compiler flags that stable Rust keeps for nightly. Without a sanitizer: every crate here
# forbids unsafe code, and this runs several times as fast.
export RUSTC_BOOTSTRAP=1
fuzz=(.tools/bin/cargo-fuzz fuzz run --fuzz-dir fuzz --sanitizer none "$target")
[ -z "$input" ] || exec "${fuzz[@]}" "$input"

found=fuzz/target/found/$target
started=fuzz/target/found/$target.started
mkdir -p "$found"
touch "$started"
# Progress is for somebody who watches.
[ -t 2 ] && verbosity=1 || verbosity=0

# One input takes milliseconds, and little memory: what takes more is a defect.
"${fuzz[@]}" "$found" "fuzz/corpus/$target" -- -max_total_time="$seconds" -max_len=4096 \
    -timeout=10 -rss_limit_mb=512 -verbosity="$verbosity" -print_final_stats=1 && exit

echo >&2
find "fuzz/artifacts/$target" -type f -newer "$started" 2>/dev/null | while read -r crash; do
    echo "run.sh: play it again with: make fuzz TARGET=$target INPUT=$crash" >&2
done
exit 1
