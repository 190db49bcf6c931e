"""`tulle check`: every row changes when the box denies what it stands for."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.attached import cgroup2_tree
from tests.support.denied import run_after, run_denied
from tests.support.programs import needs
from tests.support.supervised import RUNNERS
from tulle.cli.probes import PROBES
from tulle.cli.version import is_compiled

Rows = dict[str, dict[str, Any]]

OWN_NAMESPACES = """
import os
from tulle.kit import mounts, namespaces, netlink
if os.getuid():
    namespaces.enter_user_namespace()
namespaces.unshare(namespaces.NEWNET | namespaces.NEWNS)
netlink.bring_loopback_up()
mounts.keep_to_ourselves()
"""
TAKEN_PORT = OWN_NAMESPACES + "import socket\nheld = socket.create_server(('127.0.0.1', 15020))\n"
GUARDED_PORTS = (
    OWN_NAMESPACES
    + """
import subprocess
rule = '''table inet guard {
  chain out {
    type filter hook output priority 0
    tcp flags & (syn | ack) == syn reject with tcp reset
  }
}'''
subprocess.run(["nft", "-f", "-"], input=rule, text=True, check=True)
"""
)
NO_CGROUP = (
    OWN_NAMESPACES
    + """
import subprocess
for line in reversed(open("/proc/self/mounts").read().splitlines()):
    if line.split()[2] == "cgroup2":
        subprocess.run(["umount", "--lazy", line.split()[1]], check=True)
"""
)
OLD_KERNEL = "import ctypes\nctypes.CDLL(None).personality(0x0020000)  # UNAME26\n"
FEW_DESCRIPTORS = (
    "import resource, sys\nfew = int(sys.argv.pop(1))\nresource.setrlimit(resource.RLIMIT_NOFILE, (few, few))\n"
)

DENIALS: dict[str, set[str]] = {
    "unshare": {"user-namespace", "namespaces", "redirect", "addresses", "read-only-mounts", "pod"},
    "mount": {"read-only-mounts", "pod"},
    "mount_setattr": {"read-only-mounts", "pod"},
    "memfd_create": {"memfd"},
    "pidfd_open": {"pidfd"},
    "inotify_init1": {"inotify"},
    "socket": {"redirect", "addresses", "pod", "attestation", "cgroup"},
    "bind": {"redirect", "addresses", "pod", "attestation", "cgroup"},
    "prctl": {"seccomp", "pod"},
    "getsockopt": {"redirect", "addresses", "socket-groups"},
    "statfs": {"directories"},
}
"""System call → the rows that change when it is denied, and no others do."""
CONTAINERS = {"unshare", "mount", "mount_setattr", "memfd_create", "prctl", "statfs"}
"""System calls without which there is no container, where there is one."""
ELSEWHERE = {"containers", "kernel", "metrics-port", "attached-ports", "compiled"}
"""Rows that no denied call stands for: each has a test of its own."""


def rows_of(done: subprocess.CompletedProcess[str]) -> Rows:
    assert "Traceback" not in done.stderr, done.stderr
    found = {row["probe"]: row for row in json.loads(done.stdout)}
    assert done.returncode == int(any(row["needed"] and not row["possible"] for row in found.values()))
    assert all(row["reason"] for row in found.values())
    assert all(row["remedy"] for row in found.values() if not row["possible"])
    return found


@pytest.fixture(scope="module")
def here() -> Rows:
    """What this box allows."""
    return rows_of(run_after("", "check", "--json"))


def containers_of(here: Rows) -> set[str]:
    """The row of containers, where this box has them."""
    return {"containers"} if here["containers"]["possible"] else set()


def test_every_row_is_denied_by_some_test() -> None:
    assert {probe.name for probe in PROBES} == set().union(*DENIALS.values()) | ELSEWHERE


@pytest.mark.parametrize("call", DENIALS)
def test_a_denied_call_changes_its_rows_and_no_others(call: str, here: Rows) -> None:
    there = rows_of(run_denied(call, "check", "--json"))

    changed = {name for name in here if here[name]["possible"] and not there[name]["possible"]}
    assert changed - {"metrics-port"} == DENIALS[call] | (containers_of(here) if call in CONTAINERS else set())
    assert all(there[name]["possible"] for name in here if here[name]["possible"] and name not in changed)


def test_an_old_kernel_is_named(here: Rows) -> None:
    there = rows_of(run_after(OLD_KERNEL, "check", "--json"))["kernel"]

    assert here["kernel"] == here["kernel"] | {"possible": True, "reason": f"Linux {os.uname().release}"}
    assert not there["possible"]
    assert there["reason"].startswith("Linux 2.6.")
    assert there["remedy"] == "Linux 5.12 or newer"


def test_a_taken_port_for_metrics_is_seen() -> None:
    free = rows_of(run_after(OWN_NAMESPACES, "check", "--json"))["metrics-port"]
    taken = rows_of(run_after(TAKEN_PORT, "check", "--json"))["metrics-port"]

    assert (free["possible"], free["reason"]) == (True, "127.0.0.1:15020 is free")
    assert (taken["possible"], taken["reason"]) == (False, "Address already in use")


def test_it_is_tried_whether_others_can_dial_an_attached_services_own_port() -> None:
    open_to_all = rows_of(run_after(OWN_NAMESPACES, "check", "--json"))["attached-ports"]
    guarded = rows_of(run_after(GUARDED_PORTS, "check", "--json"))["attached-ports"]

    assert not open_to_all["possible"]
    assert "dialled such a port" in open_to_all["reason"]
    assert guarded["possible"], guarded
    assert guarded["reason"].endswith("was refused: Connection refused")


@needs("podman")
@pytest.mark.skipif("root" not in RUNNERS, reason="containers need root")
def test_a_podman_that_does_not_run_one_is_named_and_what_it_says(here: Rows, tmp_path: Path) -> None:
    assert here["containers"]["possible"], here["containers"]
    (tmp_path / "podman").write_text("#!/bin/sh\necho 'Error: this podman is broken' >&2\nexit 125\n")
    (tmp_path / "podman").chmod(0o755)

    there = rows_of(run_after("", "check", "--json", PATH=f"{tmp_path}:{os.environ['PATH']}"))["containers"]

    assert (there["possible"], there["reason"]) == (False, "podman: podman info: this podman is broken")


def test_cgroups_are_seen_where_they_are(here: Rows) -> None:
    without = rows_of(run_after(NO_CGROUP, "check", "--json"))

    assert (without["cgroup"]["possible"], without["cgroup"]["reason"]) == (False, "no cgroup2 tree is mounted")
    assert without["attestation"]["possible"]
    assert (here["cgroup"]["possible"], here["cgroup"]["reason"]) == (True, f"the tree is at {cgroup2_tree()}")


def test_whose_a_connection_is_is_tried(here: Rows) -> None:
    row = here["attestation"]

    assert row["possible"]
    assert row["reason"].startswith(f"a connection and a listener of uid {os.getuid()} were recognised, in the control")


def test_who_dials_a_path_is_tried(here: Rows) -> None:
    row = here["socket-groups"]

    assert row["possible"]
    assert row["reason"].startswith(f"a caller of uid {os.getuid()} was recognised, in the control group ")


def test_compiled_modules_are_told_from_sources(here: Rows) -> None:
    source = Path(__file__).parents[2] / "src"
    pure = rows_of(run_after("", "check", "--json", PYTHONPATH=str(source)))["compiled"]

    assert here["compiled"]["possible"] is is_compiled()
    assert (pure["possible"], pure["reason"].partition(" ")[0]) == (False, "interpreted")


@pytest.mark.parametrize(
    ("few", "rows"), [(5, {"redirect", "addresses", "pod", "attestation", "cgroup", "socket-groups"}), (7, {"pod"})]
)
def test_few_descriptors_are_a_reason(few: int, rows: set[str], here: Rows) -> None:
    there = rows_of(run_after(FEW_DESCRIPTORS, str(few), "check", "--json"))

    changed = {name for name in here if here[name]["possible"] and not there[name]["possible"]}
    assert changed - {"metrics-port"} == rows | containers_of(here)
    assert all("Too many open files" in there[name]["reason"] for name in rows)


@pytest.mark.parametrize(
    ("done", "remedy"),
    [
        (lambda: run_denied("clone", "check", "--json"), "more processes: ulimit -u, or a looser sandbox"),
        (lambda: run_after(FEW_DESCRIPTORS, "4", "check", "--json"), "more file descriptors: ulimit -n"),
    ],
)
def test_a_box_on_which_nothing_can_be_tried_is_a_table_all_the_same(done: Any, remedy: str) -> None:
    found = rows_of(done())

    assert {row["possible"] for row in found.values()} == {False}
    assert {row["remedy"] for row in found.values()} == {remedy}
