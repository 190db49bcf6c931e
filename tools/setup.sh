#!/bin/sh
# Makes .venv from the lock. Needs Linux >= 5.12, Python >= 3.11 with venv; what is missing is said in one line with its remedy.
# PYTHON=/path/to/python3 chooses the interpreter; further words are handed to `uv sync`.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "error: $1" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "Tulle needs Linux, this is $(uname -s); use a Linux box or a virtual machine"
release=$(uname -r)
major=${release%%.*}
minor=${release#*.}
minor=${minor%%[!0-9]*}
[ "$major" -gt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -ge 12 ]; } ||
    fail "Tulle needs Linux 5.12 or newer, this is $release; upgrade the kernel (Debian 11: apt-get install -t bullseye-backports linux-image-amd64)"

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "$python is not installed; apt-get install python3 python3-venv, or name one with PYTHON="
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Tulle needs Python 3.11 or newer, $python is $("$python" -V 2>&1); name a newer one with PYTHON="
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments; apt-get install python3-venv"

uv_version=$(sed -n '/^name = "uv"$/{n;s/^version = "\(.*\)"$/\1/p;}' uv.lock)
# Its scripts and the editable install hold the path of the tree: after a copy or a move they would run the other one's code.
[ ! -e .venv/.stamp ] || [ "$(cat .venv/.stamp)" = "$(pwd -P)" ] || rm -rf .venv
[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || { rm -rf .venv && "$python" -m venv .venv; }
[ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" = "$uv_version" ] ||
    .venv/bin/python -m pip install -qq --disable-pip-version-check "uv==$uv_version"
# The editable install is never compiled: an edited source must not be shadowed.
TULLE_COMPILE=0 UV_PYTHON_DOWNLOADS=never .venv/bin/uv sync --frozen --quiet "$@"
