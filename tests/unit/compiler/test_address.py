"""Virtual addresses stay where they are."""

from ipaddress import IPv4Address

from tulle.compiler.address import NETWORK, addresses


def test_an_address_does_not_depend_on_who_else_is_there() -> None:
    alone = addresses(["default/orders"], {})
    among = addresses(["default/orders", "default/web", "prod/pay"], {})

    assert alone["default/orders"] == among["default/orders"]


def test_every_address_is_unique_and_in_the_network() -> None:
    names = [f"ns/s{number}" for number in range(5000)]

    given = addresses(names, {})

    assert len(set(given.values())) == len(names)
    assert all(IPv4Address(one) in NETWORK for one in given.values())
    assert str(NETWORK.network_address) not in given.values()


def test_a_collision_takes_the_next_and_keeps_it() -> None:
    wanted = addresses(["a/b"], {})["a/b"]

    first = addresses(["a/b", "x/y"], {"x/y": wanted})
    second = addresses(["a/b", "x/y"], first)

    assert first["x/y"] == wanted
    assert int(IPv4Address(first["a/b"])) == int(IPv4Address(wanted)) + 1
    assert second == first


def test_an_address_of_another_network_is_not_kept() -> None:
    for strange in ("10.0.0.1", "127.80.0.0", "127.80.255.255", "::1", "nonsense"):
        assert IPv4Address(addresses(["a/b"], {"a/b": strange})["a/b"]) in NETWORK
        assert addresses(["a/b"], {"a/b": strange})["a/b"] != strange
