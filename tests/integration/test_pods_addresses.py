"""Where the kernel does not redirect, a listener at each virtual address stands in: as root and as an ordinary user."""

from collections.abc import Iterator

import pytest

from tests.support.supervised import RUNNERS, Supervised, supervised
from tulle.wire.plan import Readiness

pytestmark = pytest.mark.user

HOSTS = {"default": "127.0.0.1 localhost\n127.80.3.4 orders\n"}
DIAL = """
import socket, sys, time
for port in sys.argv[2:]:
    with socket.create_connection((sys.argv[1], int(port)), 10) as c:
        print("heard", c.recv(100).decode(), flush=True)
time.sleep(1000)
"""
DIAL_WHENEVER = """
import socket, sys, time
while True:
    try:
        with socket.create_connection((sys.argv[1], 80), 10) as c:
            print("heard", c.recv(100).decode(), flush=True)
    except ConnectionRefusedError:
        print("refused", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)  # by a listener that closed before anybody accepted
    time.sleep(0.02)
"""
LISTEN = """
import socket, sys, time
both = ":" in sys.argv[1]
listener = socket.create_server((sys.argv[1], 80), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both)
time.sleep(1000)
"""


@pytest.fixture(params=RUNNERS)
def mesh(request: pytest.FixtureRequest) -> Iterator[Supervised]:
    with supervised(request.param, "addresses") as one:
        yield one


def test_what_a_pod_dials_arrives_at_the_listener_of_that_address(mesh: Supervised) -> None:
    mesh.apply(
        mesh.pod("default/web", mesh.python, "-c", DIAL, "orders", "80", "8080"),
        hosts=HOSTS, addresses=["127.80.3.4:80", "127.80.3.4:8080"],
    )  # fmt: skip
    mesh.await_told("address", "default/web@127.80.3.4:8080")

    first = mesh.ask("accept", name="default/web@127.80.3.4:80", reply="eighty")
    second = mesh.ask("accept", name="default/web@127.80.3.4:8080", reply="more")

    assert (first, second) == (
        {"meant": [], "at": ["127.80.3.4", 80]},
        {"meant": [], "at": ["127.80.3.4", 8080]},
    )
    mesh.await_line("default/web", "heard eighty")
    mesh.await_line("default/web", "heard more")
    assert mesh.await_state("default/web", "ready").way == "addresses"


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_kernel_without_nftables_is_found_out_by_itself(runner: str) -> None:
    with supervised(runner, "no-nftables") as mesh:
        mesh.apply(
            mesh.pod("default/web", mesh.python, "-c", DIAL, "orders", "80"), hosts=HOSTS, addresses=["127.80.3.4:80"]
        )
        mesh.await_told("address", "default/web@127.80.3.4:80")

        assert mesh.ask("accept", name="default/web@127.80.3.4:80", reply="proxy")["at"] == ["127.80.3.4", 80]
        assert mesh.await_state("default/web", "ready").way == "addresses"


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_kernel_with_nftables_is_used(runner: str) -> None:
    with supervised(runner) as mesh:
        mesh.apply(mesh.pod("default/web", "sleep", "1000"), addresses=["127.80.3.4:80"])

        assert mesh.await_state("default/web", "ready").way == "redirect"
        assert mesh.ask("listeners") == ["default/web"]


def test_services_come_and_go_in_a_running_pod(mesh: Supervised) -> None:
    pod = mesh.pod("default/web", mesh.python, "-c", DIAL_WHENEVER, "orders")
    mesh.apply(pod, hosts=HOSTS)
    mesh.await_line("default/web", "refused")
    before = mesh.await_state("default/web", "ready")

    for round in ("first", "second"):  # what the first leaves in TIME_WAIT is in nobody's way
        mesh.apply(pod, hosts=HOSTS, addresses=["127.80.3.4:80"])
        mesh.await_told("address", "default/web@127.80.3.4:80")
        mesh.ask("accept", name="default/web@127.80.3.4:80", reply=round)
        mesh.await_line("default/web", f"heard {round}")
        mesh.apply(pod, hosts=HOSTS)
        mesh.await_told("no-address", "default/web@127.80.3.4:80")
        await_refusal(mesh, len(mesh.log_lines("default/web")))

    assert mesh.statuses_now()["default/web"] == before


def await_refusal(mesh: Supervised, said: int) -> None:
    """Waits for one after so many lines."""
    mesh.wait_until(lambda: "refused" in mesh.log_lines("default/web")[said:], "something listens there yet")


def test_a_new_proxy_is_handed_every_address_again(mesh: Supervised) -> None:
    mesh.apply(mesh.pod("default/web", "sleep", "1000"), addresses=["127.80.3.4:80", "127.80.3.5:80"])
    mesh.await_told("address", "default/web@127.80.3.5:80")

    mesh.kill(mesh.pid_of("fake_proxy"))
    mesh.proxy.accept()

    mesh.await_told("synced", "")
    assert mesh.ask("listeners") == ["default/web", "default/web@127.80.3.4:80", "default/web@127.80.3.5:80"]


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_service_that_collides_is_told_why_it_cannot_listen(mesh: Supervised, address: str) -> None:
    mesh.apply(
        mesh.pod("default/web", mesh.python, "-c", LISTEN, address, readiness=Readiness(80)),
        addresses=["127.80.3.4:80"],
    )

    status = mesh.await_state("default/web", "backoff", "exit 1; it cannot listen at port 80 of every address here.")

    assert "Let the service listen on 127.0.0.1" in status.why
    assert any("Address already in use" in line for line in mesh.log_lines("default/web"))


def test_a_service_on_loopback_collides_with_nothing(mesh: Supervised) -> None:
    mesh.apply(
        mesh.pod("default/web", mesh.python, "-c", LISTEN, "127.0.0.1", readiness=Readiness(80)),
        addresses=["127.80.3.4:80"],
    )

    assert mesh.await_state("default/web", "ready").why == ""


def test_an_address_that_a_running_service_takes_is_said_and_tried_again(mesh: Supervised) -> None:
    pod = mesh.pod("default/web", mesh.python, "-c", LISTEN, "0.0.0.0", readiness=Readiness(80))
    mesh.apply(pod)
    mesh.await_state("default/web", "ready")

    mesh.apply(pod, addresses=["127.80.3.4:80", "127.80.3.4:81"])
    said = mesh.await_state(
        "default/web", "ready", "cannot be reached from here: 127.80.3.4:80 (the service listens at this port). Let"
    )
    mesh.await_told("address", "default/web@127.80.3.4:81")
    mesh.apply(pod)
    mesh.await_status("default/web", lambda s: s.why == "", "free of it")

    assert mesh.statuses["default/web"].pid == said.pid


@pytest.mark.parametrize("runner", RUNNERS)
def test_there_may_be_more_listeners_than_descriptors_are_usual(runner: str) -> None:
    addresses = [f"127.80.{part}.{number}:80" for part in range(2) for number in range(1, 251)]
    mesh = Supervised(runner, "addresses")
    mesh.wrapper = ["prlimit", "--nofile=1024:8192"]
    limit = (
        "import resource, time; print('may', resource.getrlimit(resource.RLIMIT_NOFILE), flush=True); time.sleep(1000)"
    )
    with mesh:
        mesh.apply(
            *(mesh.pod(f"default/{name}", mesh.python, "-c", limit) for name in ("one", "two", "three")),
            addresses=addresses,
        )
        for name in ("one", "two", "three"):
            mesh.await_state(f"default/{name}", "ready")
            assert mesh.await_line(f"default/{name}", "may") == "may (1024, 8192)"

        everything = 3 * (1 + len(addresses))
        mesh.wait_until(lambda: len(mesh.ask("listeners")) == everything, "the proxy was handed less")
