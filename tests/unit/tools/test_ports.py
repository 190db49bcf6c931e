"""Ports for what is started next: each given once, and none that the kernel could give meanwhile."""

import socket

import pytest

from tools.ports import GIVEN_BY_KERNEL, below, free_port


def test_no_port_is_given_twice_although_nobody_has_taken_it() -> None:
    ports = [free_port() for _ in range(1000)]

    assert len(set(ports)) == len(ports)


def test_a_port_is_none_that_the_kernel_gives_to_callers_and_listeners() -> None:
    least = int(GIVEN_BY_KERNEL.read_text().split()[0])

    assert free_port() in below(least)


@pytest.mark.parametrize(("least", "first", "last"), [(32_768, 20_000, 32_767), (1_024, 20_000, 32_767)])
def test_where_they_are_looked_for(least: int, first: int, last: int) -> None:
    assert (below(least)[0], below(least)[-1]) == (first, last)


def test_a_port_can_be_taken_on_every_address() -> None:
    with socket.create_server(("", free_port()), family=socket.AF_INET6, dualstack_ipv6=True):
        pass
