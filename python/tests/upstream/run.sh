#!/usr/bin/env bash
# Usage: run.sh PYTHON TEST_PYTHON DIR [pytest option...]
# Compares our lists of aiomqtt's names, and what type checkers accept of it, with aiomqtt itself, and runs its own
# tests in TEST_PYTHON, where the wheels are installed. PYTHON fetches it into DIR: it is not part of this repository.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$here/../../..
python=$(realpath --no-symlinks "$1") test_python=$(realpath --no-symlinks "$2")
mkdir -p "$3"
directory=$(cd "$3" && pwd)
shift 3

# The hash is checked, also of a file that is there already. No build: pip only looks at the metadata,
# with the build backend that the development requirements have installed.
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
    --no-build-isolation --require-hashes --dest "$directory" -r "$repository/requirements/upstream-source.txt"

# The tests apart: the package beside them would be imported in place of ours.
rm -rf "$directory/source" "$directory/original" "$directory/run"
mkdir "$directory/source" "$directory/original" "$directory/run"
tar -xzf "$directory"/aiomqtt-*.tar.gz -C "$directory/source" --strip-components=1 --wildcards '*/tests/*'
tar -xzf "$directory"/aiomqtt-*.tar.gz -C "$directory/original" --strip-components=1 --wildcards '*/aiomqtt/*'

PYTHONPATH=$directory/original "$test_python" "$here/../aiomqtt_names.py"
MYPYPATH=$directory/original "$python" -m mypy --config-file= --strict --python-version 3.11 \
    --cache-dir "$directory/mypy" --python-executable "$test_python" "$here/../type_checks/typical_use.py"

cd "$directory/run"
PYTHONPATH=$here/.. "$test_python" -m pytest -c "$here/pytest.ini" --rootdir "$directory/source" \
    "$directory/source/tests" "$@"
