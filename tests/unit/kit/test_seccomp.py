"""The filter's every verdict, without a kernel, for both architectures."""

import errno

import pytest

from tests.support.filter import ALLOWED, AUDIT, judge
from tulle.kit import seccomp

SOCKET = {"x86_64": 41, "aarch64": 198}
CLONE = {"x86_64": 56, "aarch64": 220}
UNSHARE = {"x86_64": 272, "aarch64": 97}
MACHINES = sorted(AUDIT)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_is_denied_and_ordinary_ones_are_not(machine: str) -> None:
    denied = seccomp.denied_calls(machine)

    assert {judge(machine, number) for number in denied.values()} == {errno.EPERM}
    special = {*denied.values(), SOCKET[machine], 435}
    assert {judge(machine, number) for number in range(470) if number not in special} == {ALLOWED}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_no_namespace_is_made(machine: str, flag: int) -> None:
    assert judge(machine, UNSHARE[machine], flag) == errno.EPERM
    assert judge(machine, CLONE[machine], flag | 17) == errno.EPERM
    assert judge(machine, 435) == errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_and_forks_are_made(machine: str) -> None:
    thread = 0x3D0F00
    assert judge(machine, CLONE[machine], thread) == ALLOWED
    assert judge(machine, CLONE[machine], 0x1200011) == ALLOWED


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("family", "protocol", "verdict"),
    [
        (1, 0, ALLOWED),
        (2, 0, ALLOWED),
        (2, 6, ALLOWED),
        (10, 17, ALLOWED),
        (2, 1, ALLOWED),
        (10, 58, ALLOWED),
        (2, 132, errno.EPROTONOSUPPORT),
        (10, 33, errno.EPROTONOSUPPORT),
        (2, 256, errno.EPROTONOSUPPORT),
        (2, 262, errno.EPROTONOSUPPORT),
        (10, 262, errno.EPROTONOSUPPORT),
        (16, 0, ALLOWED),
        (16, 4, errno.EPROTONOSUPPORT),
        (16, 12, errno.EPROTONOSUPPORT),
        (17, 0, errno.EAFNOSUPPORT),
        (38, 0, errno.EAFNOSUPPORT),
        (40, 0, errno.EAFNOSUPPORT),
    ],
)
def test_sockets_are_of_families_that_a_pod_confines(machine: str, family: int, protocol: int, verdict: int) -> None:
    assert judge(machine, SOCKET[machine], family, 1, protocol) == verdict


def test_calls_of_another_architecture_do_not_exist() -> None:
    assert judge("x86_64", 101, audit=0x40000003) == errno.ENOSYS
    assert judge("x86_64", 0x40000000 | 101) == errno.ENOSYS


def test_a_machine_without_a_table_is_refused() -> None:
    with pytest.raises(seccomp.UnknownArchitecture, match="riscv64"):
        seccomp.assemble("riscv64")
