#!/bin/sh
# Runs a throwaway PostgreSQL of Debian on 127.0.0.1:15432 (or $1) until it is stopped. As root: as user postgres.
set -eu
port=${1:-15432}
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid postgres --regid postgres --init-groups env HOME=/tmp "$0" "$port"
fi
if ! id -un >/dev/null 2>&1; then # PostgreSQL wants its user to have a name
    exec unshare --user --map-user=postgres env HOME=/tmp "$0" "$port"
fi
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
data=$(mktemp -d)
server=
trap 'trap - EXIT; [ -z "$server" ] || { kill -INT "$server"; wait "$server" || :; }; rm -rf "$data"' EXIT
trap 'exit 0' INT TERM
"$bin/initdb" --pgdata "$data" --username tulle --auth trust --no-sync >/dev/null
cd "$data"
"$bin/postgres" -D "$data" -c listen_addresses=127.0.0.1 -p "$port" -c unix_socket_directories="$data" -c fsync=off &
server=$!
wait "$server"
