"""What is counted per request: reading callgrind's and strace's words, and what a second window adds."""

from collections import Counter

from benchmarks.callgrind import read_profile
from benchmarks.counted import answer_head, request_head
from benchmarks.per_request import difference
from benchmarks.strace import read_counts

PROFILE = """\
# callgrind format
version: 1
creator: callgrind-3.19.0
part: 2

desc: Trigger: dump

positions: line
events: Ir
summary: 460

ob=(1) /usr/bin/python3
fl=(1) ceval.c
fn=(1) run
10 100
+2 20
cob=(2) libc.so.6
cfi=(2) malloc.c
cfn=(2) malloc
calls=3 7
+1 60
cfn=(1)
calls=2 10
* 200
-3 5

fl=(2)
fn=(2)
7 60

fl=(1)
fn=(3) run'2
10 15
cfn=(2)
calls=1 7
16 20
"""

TABLE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           1      2000           sendto
 30.00    0.000300           1      2003         3 recvfrom
 10.00    0.000100           1      2001           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           1      6004         3 total
"""


def test_a_function_costs_what_it_spends_without_those_it_calls() -> None:
    profile = read_profile(PROFILE)

    assert profile.instructions == {"run": 100 + 20 + 5 + 15, "malloc": 60}


def test_calls_of_a_function_add_up_over_its_callers() -> None:
    assert read_profile(PROFILE).calls == {"malloc": 3 + 1, "run": 2}


def test_each_system_call_is_counted_with_its_failures() -> None:
    assert read_counts(TABLE) == {"sendto": 2000, "recvfrom": 2003, "epoll_wait": 2001}


def test_a_request_costs_what_the_longer_window_adds() -> None:
    first = Counter(send=205, ioctl=7, getrandom=1)
    second = Counter(send=405, ioctl=7, write=3)

    assert difference(first, second, 100) == {"send": 2.0, "ioctl": 0.0, "getrandom": -0.01, "write": 0.03}


def test_heads_that_repeat_are_the_same_octets_and_others_never() -> None:
    def distinct(variant: str) -> tuple[int, int]:
        numbers = range(1, 5)
        return len({request_head(variant, n) for n in numbers}), len({answer_head(variant, n) for n in numbers})

    assert {variant: distinct(variant) for variant in ("repeat", "differ", "answers", "minimal")} == {
        "repeat": (1, 1),
        "differ": (4, 4),
        "answers": (1, 4),
        "minimal": (1, 1),
    }


def test_heads_that_are_not_minimal_have_ten_fields_each_way() -> None:
    for variant in ("repeat", "differ", "answers"):
        assert [head(variant, 1).count(b"\r\n") - 2 for head in (request_head, answer_head)] == [10, 10]
