#!/bin/sh
# Copies the tree to a directory owned by an ordinary user, makes its own .venv there with /usr/bin/python3, and runs the tests
# marked `user` and the demo. As root the user is a uid that nothing else has; otherwise it is whoever calls.
set -eu
cd "$(dirname "$0")/.."

copy=$(mktemp -d /var/tmp/tulle-user.XXXXXX)
trap 'rm -rf "$copy"' EXIT
trap 'exit 1' INT TERM
tar -c --exclude=./.git --exclude=./.venv --exclude=./build --exclude=./dist --exclude=__pycache__ \
    --exclude=./.mypy_cache --exclude=./.pytest_cache --exclude=./.hypothesis . | tar -x -C "$copy"

as_user=
if [ "$(id -u)" -eq 0 ]; then
    uid=52000
    while getent passwd "$uid" >/dev/null || [ -n "$(ps -o pid= -u "$uid")" ]; do uid=$((uid + 1)); done
    chown -R "$uid:$uid" "$copy"
    as_user="setpriv --reuid $uid --regid $uid --clear-groups --inh-caps=-all"
fi
mkdir -p "$copy/.home"
[ -z "$as_user" ] || chown "$uid:$uid" "$copy/.home"
cd "$copy"
run() {
    $as_user env -u VIRTUAL_ENV -u XDG_RUNTIME_DIR -u XDG_STATE_HOME -u UV_CACHE_DIR -u MAKEFLAGS -u MAKELEVEL \
        HOME="$copy/.home" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin PYTHON=/usr/bin/python3 "$@"
}
echo "as uid ${uid:-$(id -u)} in $copy:"
run make compiled
run sh -c 'if [ -s build/compiled.path ]; then export TULLE_BUILD=compiled PYTHONPATH="$(cat build/compiled.path)"; fi
    exec .venv/bin/python -m pytest -m user'
[ ! -e tools/demo.py ] || run make demo
