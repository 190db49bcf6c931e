"""Podman's list of system calls, less what no pod may do."""

import json
from typing import Any

import pytest

from tulle.kit import seccomp
from tulle.supervisor.container_filter import tightened

PODMANS = json.dumps(
    {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
        "syscalls": [
            {
                "names": ["read", "clone", "clone3", "unshare", "mount", "ptrace", "socketcall"],
                "action": "SCMP_ACT_ALLOW",
            },
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW"},
        ],
    }
)
MACHINES = ("x86_64", "aarch64")


def verdict(profile: str, name: str, *arguments: int) -> int | None:
    """The error that a call meets; 0 when it is allowed, None when rules contradict each other."""
    read = json.loads(profile)
    matching = [
        0 if rule["action"] == "SCMP_ACT_ALLOW" else rule["errnoRet"]
        for rule in read["syscalls"]
        if name in rule["names"] and all(holds(one, arguments) for one in rule.get("args") or [])
    ]
    found = set(matching) or {read["defaultErrnoRet"]}
    return found.pop() if len(found) == 1 else None


def holds(condition: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    value = arguments[condition["index"]]
    match condition["op"]:
        case "SCMP_CMP_EQ":
            return bool(value == condition["value"])
        case "SCMP_CMP_GT":
            return bool(value > condition["value"])
        case "SCMP_CMP_MASKED_EQ":
            return bool(value & condition["value"] == condition["valueTwo"])
    raise AssertionError(condition)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_no_pod_may_call_no_container_may(machine: str) -> None:
    profile = tightened(PODMANS, machine)

    assert {verdict(profile, name) for name in seccomp.denied_calls(machine)} == {1}
    assert verdict(profile, "read") == 0
    assert verdict(profile, "clone3") == 38
    assert verdict(profile, "socketcall") == 38


@pytest.mark.parametrize("call", ["clone", "unshare"])
def test_a_namespace_is_refused_and_all_else_of_the_call_is_not(call: str) -> None:
    profile = tightened(PODMANS, "x86_64")

    assert verdict(profile, call, 0x00010F00) == 0  # what threads are made with
    for kind in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(profile, call, kind) == 1
        assert verdict(profile, call, kind | 0x00010F00) == 1


PROTOCOLS = (0, 1, 2, 4, 6, 9, 12, 17, 33, 58, 132, 136, 256, 262)


@pytest.mark.parametrize(
    ("families", "allowed", "refusal"),
    [
        ({1}, {*PROTOCOLS}, 0),
        ({2, 10}, {0, 1, 6, 17, 58}, 93),
        ({16}, {0}, 93),
        ({*range(70)} - {1, 2, 10, 16}, set(), 97),
    ],
)
def test_sockets_are_those_of_a_pod(families: set[int], allowed: set[int], refusal: int) -> None:
    profile = tightened(PODMANS, "x86_64")

    for family in families:
        found = {protocol: verdict(profile, "socket", family, 1, protocol) for protocol in PROTOCOLS}
        assert found == {protocol: 0 if protocol in allowed else refusal for protocol in PROTOCOLS}


def test_no_rule_looks_at_an_argument_twice_and_no_other_architecture_is_let_in() -> None:
    profile = json.loads(tightened(PODMANS, "x86_64"))

    for rule in profile["syscalls"]:
        looked_at = [one["index"] for one in rule.get("args") or []]
        assert len(looked_at) == len(set(looked_at))
    assert profile["archMap"] == [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}]
