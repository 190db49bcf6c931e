"""Images for containers under test, in a storage of the test's own: nothing of the box's podman is touched."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.supervised import MESH, Supervised
from tulle.wire.plan import ContainerSpec, PodSpec

BUSYBOX = "localhost/tulle-busybox"
"""busybox-static alone; /usr of the box may be mounted into it, and then it has the box's Python."""
_BUSYBOX_BUILD = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN ["/bin/sh", "-c", "ln -s usr/lib /lib && ln -s usr/lib64 /lib64 && mkdir -p /usr /etc /tmp && chmod 1777 /tmp"]
CMD ["/bin/sh", "-c", "echo the image speaks; exec sleep 1000"]
"""
_PATIENCE_SECONDS = 60


class Storage:
    """A place of podman's own: its images, volumes and state."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.joinpath("storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/images"\nrunroot = "{directory}/run"\n'
        )
        directory.joinpath("containers.conf").write_text(
            f'[engine]\ntmp_dir = "{directory}/libpod"\nvolume_path = "{directory}/volumes"\n'
        )
        self.environment = {
            "CONTAINERS_STORAGE_CONF": f"{directory}/storage.conf",
            "CONTAINERS_CONF": f"{directory}/containers.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{directory}/registries.conf",
        }
        directory.joinpath("registries.conf").touch()

    def podman(self, *arguments: str) -> str:
        """What podman says."""
        done = subprocess.run(
            ["podman", *arguments],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def trust(self, registry: str) -> None:
        """Lets a registry be asked without TLS."""
        text = f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n'
        self.directory.joinpath("registries.conf").write_text(text)

    def build(self, name: str, text: str, **files: bytes) -> None:
        """Builds an image of a Containerfile and files beside it."""
        with tempfile.TemporaryDirectory(prefix="tulle-image-") as context:
            Path(context, "Containerfile").write_text(text)
            for one, octets in files.items():
                Path(context, one).write_bytes(octets)
                Path(context, one).chmod(0o755)
            self.podman("build", "--isolation=chroot", "--quiet", "--tag", name, context)

    def build_busybox(self) -> None:
        """Makes BUSYBOX."""
        busybox = shutil.which("busybox")
        assert busybox, "busybox is missing: apt-get install busybox-static"
        self.build(BUSYBOX, _BUSYBOX_BUILD, busybox=Path(busybox).read_bytes())


@contextmanager
def own_storage() -> Iterator[Storage]:
    """A storage with nothing in it; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="tulle-images-", dir="/var/tmp"))
    storage = Storage(directory)
    try:
        yield storage
    finally:
        storage.podman("system", "reset", "--force")
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def supervised_with(storage: Storage, way: str = "auto", **environment: str) -> Iterator[Supervised]:
    """A supervisor as root whose podman has this storage."""
    mesh = Supervised("root", way)
    mesh.environment = storage.environment | environment
    with mesh:
        yield mesh
    _clear_cgroups()


def _clear_cgroups() -> None:
    """Removes what a killed supervisor leaves, which its next start would clear; what runs keeps its own."""
    for directory, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if f"/tulle/{MESH}." in directory or directory.endswith("/tulle"):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()


def container(
    mesh: Supervised,
    name: str,
    *argv: str,
    image: str = BUSYBOX,
    mounts: Sequence[Sequence[str]] = (),
    pull: str = "never",
    memory: int = 0,
    cpus: float = 0.0,
    env: dict[str, str] | None = None,
    **fields: object,
) -> PodSpec:
    """A PodSpec of a container with what a test does not care about filled in."""
    of_image = ContainerSpec(image, [list(one) for one in mounts], pull, memory, cpus)
    marked = {"TULLE_TEST_POD": mesh.directory.name, **(env or {})}
    return mesh.pod(name, *argv, env=marked, container=of_image, **{"stop_seconds": 1.0, **fields})


def shell(mesh: Supervised, name: str, script: str, **fields: Any) -> PodSpec:
    """One that runs a script in busybox's shell."""
    return container(mesh, name, "/bin/sh", "-c", script, **fields)
