"""The filter's numbers are the kernel's own: its headers, where they are installed, say so for both architectures."""

import re
from pathlib import Path

import pytest

from tests.support.filter import ALLOWED, judge
from tulle.kit import seccomp

INCLUDE = Path("/usr/include")
HEADERS = {
    "x86_64": [INCLUDE / "x86_64-linux-gnu/asm/unistd_64.h", INCLUDE / "asm/unistd_64.h"],
    "aarch64": [INCLUDE / "asm-generic/unistd.h"],
}
"""aarch64 has the generic table, which linux-libc-dev installs everywhere."""
FAMILIAR = {"x86_64": {"read": 0, "fork": 57, "execve": 59}, "aarch64": {"read": 63, "getpid": 172, "execve": 221}}


def header(machine: str) -> dict[str, int]:
    """Name → number as the header defines them."""
    path = next((one for one in HEADERS[machine] if one.exists()), None)
    if path is None:
        pytest.skip(f"no kernel headers with the calls of {machine}: apt install linux-libc-dev")
    text = path.read_text(encoding="utf-8")
    plain = re.findall(r"^#define __NR_(\w+)\s+(\d+)\s*(?:/\*.*)?$", text, re.MULTILINE)
    return {name: int(number) for name, number in plain}


JUDGED = {"clone", "unshare", "socket", "clone3"}
"""By their arguments, or in another way than the listed ones."""
EVERYTHING = (0xFFFFFFFF,) * 6


@pytest.mark.parametrize("machine", sorted(HEADERS))
def test_every_listed_number_is_the_one_of_its_name(machine: str) -> None:
    numbers = header(machine)
    ours = seccomp.denied_calls(machine)
    newest = max(number for name, number in numbers.items() if name != "syscalls")

    assert numbers.items() >= FAMILIAR[machine].items()
    unknown = {name: number for name, number in ours.items() if name not in numbers}
    assert {name: number for name, number in ours.items() if numbers.get(name, number) != number} == {}
    assert {name for name, number in unknown.items() if number <= newest} == set()


@pytest.mark.parametrize("machine", sorted(HEADERS))
def test_the_filter_touches_the_listed_calls_and_those_it_judges_and_no_other(machine: str) -> None:
    numbers = {name: number for name, number in header(machine).items() if name != "syscalls"}
    touched = {
        name
        for name, number in numbers.items()
        if judge(machine, number) != ALLOWED or judge(machine, number, *EVERYTHING) != ALLOWED
    }

    assert touched == (seccomp.denied_calls(machine).keys() | JUDGED) & numbers.keys()
