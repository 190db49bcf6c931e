"""Containers in pods: run by podman as root, reached and confined as any pod is."""

from collections.abc import Iterator

import pytest

from tests.support.images import BUSYBOX, Storage, own_storage
from tests.support.supervised import Supervised
from tulle.wire.plan import ContainerSpec, PodSpec


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    with own_storage() as one:
        one.build_busybox()
        yield one


@pytest.fixture
def mesh(storage: Storage) -> Iterator[Supervised]:
    supervised = Supervised("root")
    supervised.environment = storage.environment
    with supervised:
        yield supervised


def container(mesh: Supervised, name: str, *argv: str, image: str = BUSYBOX, **fields: object) -> PodSpec:
    of_container = {one: fields.pop(one) for one in ("mounts", "pull", "memory", "cpus") if one in fields}
    fields.setdefault("stop_seconds", 1.0)
    return mesh.pod(name, *argv, container=ContainerSpec(image, **of_container), **fields)  # type: ignore[arg-type]


def test_a_container_runs_its_images_command_and_says_what_it_says(mesh: Supervised) -> None:
    mesh.apply(container(mesh, "default/web"))

    mesh.await_state("default/web", "ready")
    assert mesh.await_line("default/web", "speaks") == "the image speaks"
