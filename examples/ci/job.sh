#!/bin/sh
# A CI job without docker: the tests of a project against a simulated cluster, as any user, in a virtual environment of its own.
# job.sh [DIRECTORY [PYTEST OPTIONS...]]; PETSET says what to install (default: petset[testing]), PYTHON with what.
set -eu
project=${1:-$(dirname "$0")/../testing}
[ $# -eq 0 ] || shift
if [ -n "${PETSET-petset[testing]}" ]; then
    venv=$(mktemp -d)
    trap 'rm -rf "$venv"' EXIT
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet "${PETSET:-petset[testing]}"
    PYTHON=$venv/bin/python
fi
"${PYTHON:-python3}" -m pytest "$@" "$project"
