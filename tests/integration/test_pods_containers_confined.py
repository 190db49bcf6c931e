"""What a container may not do: an intruder in one meets what the table says; mounts give what is named, and no more."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_pods_intruder import VIRTUAL, bait
from tests.support.images import BUSYBOX, Storage, container, own_storage, shell, supervised_with
from tests.support.intruder import AS_ROOT_IN_CONTAINER, ATTEMPTS, IN_CONTAINER
from tests.support.programs import needs
from tests.support.supervised import RUNNERS, Supervised
from tools.footprint import descendants, name_of
from tulle.wire.plan import Readiness

pytestmark = [
    pytest.mark.skipif("root" not in RUNNERS, reason="containers need root"),
    needs("podman", "busybox"),
]

WEB = "default/web"
SLEEP = "exec sleep 1000"
PYTHON = ("/usr", "/usr", "ro")
"""The box's Python, into an image that has none."""


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    with own_storage() as one:
        one.build_busybox()
        yield one


@pytest.fixture
def mesh(storage: Storage) -> Iterator[Supervised]:
    with supervised_with(storage) as one:
        yield one


@pytest.mark.parametrize(("user", "way"), [("", "redirect"), ("", "addresses"), ("root", "redirect")])
def test_an_intruder_in_a_container_finds_every_door_as_the_table_says(storage: Storage, user: str, way: str) -> None:
    with contextlib.ExitStack() as around:
        mesh = around.enter_context(supervised_with(storage, way))
        targets, udp = bait(mesh, around)
        mesh.apply(
            shell(mesh, "default/neighbour", "exec httpd -f -p 8080", readiness=Readiness(8080)), addresses=[VIRTUAL]
        )
        mesh.await_state("default/neighbour", "ready")
        intruder = shell(
            mesh,
            "default/intruder",
            f"/usr/bin/python3 -I /intruder.py; {SLEEP}",
            user=user,
            mounts=[PYTHON, (str(mesh.home / "intruder.py"), "/intruder.py", "ro")],
            env={"INTRUDER_TARGETS": json.dumps(targets | {"container": "yes"})},
        )
        mesh.apply(*mesh.plan.pods, intruder, addresses=[VIRTUAL])
        mesh.await_line("default/intruder", '"end"')
        udp.setblocking(False)
        with pytest.raises(BlockingIOError):
            udp.recv(100)
        *rows, end = [json.loads(line) for line in mesh.log_lines("default/intruder")][: len(ATTEMPTS) + 1]
        assert mesh.process.poll() is None
    assert end == {"end": len(ATTEMPTS)}
    otherwise = IN_CONTAINER | (AS_ROOT_IN_CONTAINER if user else {})
    unexpected = [row for row in rows if row["outcome"] not in otherwise.get(row["what"], row["expected"])]
    assert not unexpected, "\n".join(f"{row['what']}: {row['outcome']} {row['words']}" for row in unexpected)


def test_pid_1_of_a_containers_pod_may_signal_and_no_more(mesh: Supervised) -> None:
    mesh.apply(container(mesh, WEB))
    pid = mesh.await_state(WEB, "ready").pid

    facts = mesh.status_of(pid)
    assert (facts["CapEff"], facts["CapPrm"], facts["CapBnd"]) == ("0000000000000020", "0000000000000020", "0" * 16)
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")


def test_what_keeps_a_container_sees_the_box_read_only(mesh: Supervised) -> None:
    mesh.apply(container(mesh, WEB))
    pid = mesh.await_state(WEB, "ready").pid

    for one in (pid, *(one for one in descendants(pid) if name_of(one) == "conmon")):
        mounts = [line.split(" ") for line in Path(f"/proc/{one}/mountinfo").read_text().splitlines()]
        assert [mount[5].split(",")[0] for mount in mounts if mount[4] == "/"] == ["ro"]


USERS = {
    ("", ""): "own own own",
    ("root", ""): "own own own",
    ("0:0", ""): "own own own",
    ("1234:77", ""): "1234 77 77",
    ("app", ""): "4321 4321 4321",
    ("1234", "4"): "4 0 0",
    ("1234", "app"): "4321 4321 4321",
    ("1234", "root"): "0 0 0",
}
"""The image's user, the manifest's → uid, gid and groups."""


def test_a_container_runs_as_its_images_user_unless_that_is_root(mesh: Supervised, storage: Storage) -> None:
    pods = {}
    for number, (of_image, user) in enumerate(USERS):
        image, said = f"localhost/tulle-user-{number}", f"USER {of_image}\n" if of_image else ""
        storage.build(image, f"FROM {BUSYBOX}\nCOPY passwd /etc/passwd\n{said}", passwd=b"app:x:4321:4321::/:/bin/sh\n")
        script = f"echo $(id -u) $(id -g) $(id -G); {SLEEP}"
        pods[of_image, user] = shell(mesh, f"default/{number}", script, image=image, user=user)

    mesh.apply(*pods.values())

    found = {key: mesh.await_line(pod.name, " ") for key, pod in pods.items()}
    own = [found[key].split() for key, wanted in USERS.items() if wanted.startswith("own")]
    assert all(uid == gid == group and 70001 <= int(uid) <= 99999 for uid, gid, group in own)
    assert len({uid for uid, _, _ in own}) == len(own)
    others = {key: wanted for key, wanted in USERS.items() if not wanted.startswith("own")}
    assert {key: found[key] for key in others} == others


def test_mounts_give_what_is_named_read_only_or_not(mesh: Supervised) -> None:
    given, kept = mesh.home / "given", mesh.home / "kept"
    for one in (given, kept):
        one.mkdir()
    (given / "file").write_text("text\n")
    kept.chmod(0o777)
    script = f"cat /given/file; echo more >> /given/file; echo saved > /kept/saved; echo tried; {SLEEP}"
    mesh.apply(shell(mesh, WEB, script, mounts=[(str(given), "/given", "ro"), (str(kept), "/kept", "rw")]))

    mesh.await_line(WEB, "tried")
    assert mesh.log_lines(WEB)[0] == "text"
    assert (given / "file").read_text() == "text\n"
    assert (kept / "saved").read_text() == "saved\n"


def test_a_mount_that_its_service_may_not_write_is_told(mesh: Supervised) -> None:
    kept, other = mesh.home / "kept", mesh.home / "other"
    for one in (kept, other):
        one.mkdir(mode=0o755)
    mesh.apply(
        shell(mesh, WEB, SLEEP, mounts=[(str(kept), "/kept", "rw"), (str(other), "/other", "ro")]),
        shell(mesh, "default/root", SLEEP, mounts=[(str(kept), "/kept", "rw")], user="root"),
    )

    why = mesh.await_state(WEB, "ready").why
    assert why.startswith(f"{kept} belongs to root (mode 0755) and uid ")
    assert why.endswith(" may not write there: chown it, or mount it `:ro`")
    assert mesh.await_state("default/root", "ready").why == ""


def test_a_volume_is_made_once_and_keeps_what_its_service_writes(mesh: Supervised, storage: Storage) -> None:
    mesh.apply(
        shell(mesh, WEB, "cat /data/starts; echo start >> /data/starts; exit 1", mounts=[("kept", "/data", "rw")])
    )

    mesh.await_line(WEB, "start")
    volumes = storage.podman("volume", "ls", "--quiet").split()
    mesh.apply()
    mesh.await_absence(WEB)
    storage.podman("volume", "rm", "kept")
    assert volumes == ["kept"]


def test_what_nobody_may_write_stays_so_inside_of_a_mount(mesh: Supervised) -> None:
    mesh.home.chmod(0o777)
    (mesh.home / "mesh.yaml").chmod(0o666)
    script = f"""cd {mesh.home}
echo wrong > mesh.yaml; mv mesh.yaml gone; rm -f mesh.yaml; echo fine > other; echo tried; {SLEEP}"""
    mesh.apply(shell(mesh, WEB, script, mounts=[(str(mesh.home), str(mesh.home), "rw")]))

    mesh.await_line(WEB, "tried")
    assert (mesh.home / "mesh.yaml").read_text() == "mesh: test\n"
    assert (mesh.home / "other").read_text() == "fine\n"


REFUSED = {
    "/": "is the whole box",
    "/..//": "is the whole box",
    "/proc": "is the kernel's own",
    "/proc/1/root": "is the kernel's own",
    "/sys/fs/cgroup": "is the kernel's own",
    "/dev": "is the kernel's own",
    "/dev/kmsg": "is the kernel's own",
    "{runtime}": "which is Tulle's or podman's own",
    "{runtime}/admin.sock": "which is Tulle's or podman's own",
    "{directory}/run": "which is Tulle's or podman's own",
    "{directory}": "which is Tulle's or podman's own",
    "{state}/logs": "which is Tulle's or podman's own",
    "{link}": "which is Tulle's or podman's own",
    "{images}": "which is Tulle's or podman's own",
    "{images}/overlay": "which is Tulle's or podman's own",
    "{socket}": "is a socket by which whoever has it is root",
    "/nonesuch": "does not exist",
}


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_a_mount_of_what_is_not_the_services_is_refused_with_the_reason(
    mesh: Supervised, storage: Storage, mode: str
) -> None:
    (mesh.home / "link").symlink_to(mesh.state)
    places = {
        "directory": mesh.directory,
        "runtime": mesh.runtime,
        "state": mesh.state,
        "link": mesh.home / "link",
        "images": storage.directory / "images",
        "socket": mesh.home / "podman.sock",
    }
    wanted = {f"default/{number}": source.format(**places) for number, source in enumerate(REFUSED)}
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(mesh.home / "podman.sock"))

        mesh.apply(*[container(mesh, name, mounts=[(at, "/given", mode)]) for name, at in wanted.items()])

        said = [mesh.await_state(name, "impossible").why for name in wanted]
    assert [why for why, at in zip(said, wanted.values(), strict=True) if not why.startswith(f"mounts: {at} ")] == []
    assert [why for why, reason in zip(said, REFUSED.values(), strict=True) if reason not in why] == []


def test_a_link_that_a_service_may_have_made_leads_nowhere(mesh: Supervised) -> None:
    shared = mesh.home / "shared"
    shared.mkdir()
    (shared / "link").symlink_to("/etc")
    writer = shell(mesh, "default/writer", SLEEP, mounts=[(str(shared), "/shared", "rw")])

    mesh.apply(writer, container(mesh, WEB, mounts=[(str(shared / "link"), "/given", "rw")]))

    mesh.await_state(WEB, "impossible", "a link that a service may have made")


def test_what_tulle_runs_from_is_given_read_only_at_most(mesh: Supervised) -> None:
    code = mesh.directory / "src" / "tulle"

    mesh.apply(container(mesh, WEB, mounts=[(str(code), "/code", "rw")]))

    mesh.await_state(WEB, "impossible", "from which Tulle itself runs")
