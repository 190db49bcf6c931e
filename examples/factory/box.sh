#!/bin/sh
# What is on the box besides the mesh, as root: `image` builds the container's image, `historian` runs the attached service,
# `prometheus DIRECTORY` the receiver of metrics. The last two stay in the foreground; end them with Ctrl-C.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

case "${1:-}" in
image)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cp /bin/busybox "$here/Containerfile" "$work"
    podman build --quiet --isolation=chroot --tag localhost/tulle-factory-labels "$work"
    ;;
historian)
    # A systemd unit has both by itself: User= and its control group.
    tree=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
    mkdir -p "$tree/factory/historian"
    echo $$ >"$tree/factory/historian/cgroup.procs"
    exec setpriv --reuid 64200 --regid 64200 --clear-groups --no-new-privs "${PYTHON:-python3}" -u - <"$here/historian.py"
    ;;
prometheus)
    config=$(mktemp)
    exec prometheus --config.file="$config" --storage.tsdb.path="$2" --web.listen-address=127.0.0.1:19090 \
        --web.enable-remote-write-receiver
    ;;
*)
    echo "usage: $0 image | historian | prometheus DIRECTORY" >&2
    exit 2
    ;;
esac
