"""What a container's pod needs before it has a network of its own: the image, volumes, whom it runs as.

The one place where something may be fetched from outside, and only where `pull: missing` says so.
"""

import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

from tulle.kit import privileges
from tulle.supervisor import words
from tulle.supervisor.container_box import known_box
from tulle.supervisor.container_cgroup import clear_cgroup
from tulle.supervisor.container_mounts import Ground, Mount, settle
from tulle.supervisor.container_podman import Answer, Box, ask, podman_environment
from tulle.supervisor.fork import fork
from tulle.supervisor.reach import why_not_write
from tulle.supervisor.steps import StepFailed, step
from tulle.supervisor.tree import trail
from tulle.wire.plan import ContainerSpec

_MISSING = "missing"


class Container(NamedTuple):
    """A container as the plan wants it on this box."""

    spec: ContainerSpec
    user: str
    """As declared; empty: the image's own."""
    own: str
    """`uid:gid` that this service has for itself, instead of an image's root."""
    cgroup: str
    place: str
    """Directory of the mesh where is remembered what the box can do."""
    files: dict[str, str]
    """Path inside → the box's file that lies there instead, read-only."""
    ground: Ground


class Ready(NamedTuple):
    """What pid 1 of its pod starts."""

    box: Box
    image: str
    """The id: what was looked at is what runs."""
    user: str
    mounts: list[Mount]
    sealed: list[str]
    """Real paths that are read-only in every one of them."""


def make_ready(container: Container, link: socket.socket) -> Ready:
    """Finds the image, or fetches it, and what is to be mounted. Raises StepFailed."""
    spec = container.spec
    clear_cgroup(container.cgroup)
    with step("podman"):
        box = known_box(container.place)
        image, its_user = _image(box, spec, link)
    ground = container.ground._replace(hidden=[*container.ground.hidden, box.images])
    if (spec.memory or spec.cpus) and not box.limits:
        words.send(link, words.NOTE, f"no limit of memory and processors holds here: {box.why_no_limits}")
    with step("mounts"):
        taken = [_taken(box, one, ground) for one in spec.mounts]
    said = "0" if container.user == "root" else container.user  # an image of few files knows no names
    user = said or _unprivileged(its_user, container.own)
    for mount in taken:
        if mount.writable and not mount.fresh and (why := _why_not_write(mount.source, user)):
            words.send(link, words.NOTE, why)
    taken += [Mount(os.path.realpath(source), target, writable=False) for target, source in container.files.items()]
    return Ready(box, image, user, taken, [trail(one)[1] for one in ground.sealed])


def _unprivileged(its_user: str, own: str) -> str:
    return own if its_user.partition(":")[0] in ("", "0", "root") else its_user


def _why_not_write(path: str, user: str) -> str:
    """Why a user, where the number says who that is, may not write what is mounted for it to write; empty when it may."""
    uid, _, gid = user.partition(":")
    if not uid.isdecimal() or not (gid or "0").isdecimal():
        return ""
    told = os.memfd_create("tulle-words", os.MFD_CLOEXEC)

    def look() -> None:
        privileges.drop(int(uid), int(gid or "0"))
        os.write(told, why_not_write(path).encode("utf-8", "replace"))

    try:
        os.waitpid(fork(look, (told,)), 0)
        why = os.pread(told, 500, 0).decode("utf-8", "replace")
        return f"{why}: chown it, or mount it `:ro`" if why else ""
    finally:
        os.close(told)


def _image(box: Box, spec: ContainerSpec, link: socket.socket) -> tuple[str, str]:
    """Its id and its own user."""
    found = _look(box, spec.image)
    if found is None and spec.pull == _MISSING:
        words.send(link, words.PULLING, spec.image)
        pulled = ask([box.podman, "pull", "--quiet", spec.image], podman_environment())
        if pulled.code:
            raise StepFailed("pull", f"podman pull {spec.image}: {pulled.last_words}")
        found = _look(box, spec.image)
    if found is None:
        raise StepFailed("image", f"there is no image {spec.image} on this box")
    return found


def _look(box: Box, image: str) -> tuple[str, str] | None:
    said = ask([box.podman, "image", "inspect", "--format", "{{.Id}}\t{{.User}}", image], podman_environment())
    if said.code:
        if _is_absent(said):
            return None
        raise StepFailed("podman", f"podman image inspect {image}: {said.last_words}")
    identity, _, user = said.out.strip().partition("\t")
    return identity, user


def _is_absent(said: Answer) -> bool:
    return "not known" in said.err or "no such" in said.err or "unable to find" in said.err


def _taken(box: Box, written: Sequence[str], ground: Ground) -> Mount:
    source, target, mode = written
    writable = mode != "ro"
    if "/" in source:
        return settle(Mount(source, target, writable), ground)
    volume, fresh = _volume(box, source)
    return Mount(volume, target, writable, fresh)


def _volume(box: Box, name: str) -> tuple[str, bool]:
    """Where a podman volume lies, and whether it was made for this."""
    where = [box.podman, "volume", "inspect", "--format", "{{.Mountpoint}}", name]
    said = ask(where, podman_environment())
    fresh = bool(said.code) and _is_absent(said)
    if fresh:
        made = ask([box.podman, "volume", "create", name], podman_environment())
        if made.code:
            raise StepFailed("mounts", f"podman volume create {name}: {made.last_words}")
        said = ask(where, podman_environment())
    place = said.out.strip()
    if said.code or not os.path.isdir(place):
        raise StepFailed("mounts", f"podman volume inspect {name}: {said.last_words}")
    return os.path.realpath(place), fresh
