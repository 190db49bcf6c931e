import pytest
from msgspec.structs import replace

from tests.unit.core.worlds import ORDERS, READERS, SHOP, WEB
from tulle.core.tables import InconsistentSnapshot, build_tables
from tulle.wire.snapshot import Backend, Door, Mode, Route, ServicePort, Snapshot, WeightedBackend


def test_a_port_is_found_by_address_by_name_and_by_door() -> None:
    tables = build_tables(SHOP)

    port = tables.by_name["default/orders", 80]

    assert tables.by_address["127.80.0.1", 80] is port
    assert tables.doors[8080] is port
    assert (port.service, port.target_port, tables.generation) == ("default/orders", 9000, 7)


def test_endpoints_keep_their_state_over_generations() -> None:
    before = build_tables(SHOP)
    (pod,) = before.pods["default/orders"]
    pod.ready, pod.in_flight = True, 3

    after = build_tables(replace(SHOP, generation=8), before)

    assert after.pods["default/orders"] == [pod]
    assert (pod.ready, pod.in_flight) == (True, 3)


def test_an_endpoint_that_left_is_forgotten() -> None:
    before = build_tables(SHOP)
    without = replace(SHOP, backends=(Backend(name="orders", service="default/orders"),))

    between = build_tables(without, before)
    after = build_tables(SHOP, between)

    assert not between.endpoints
    assert after.pods["default/orders"][0] is not before.pods["default/orders"][0]


def test_host_endpoints_begin_ready_and_pods_unready() -> None:
    tables = build_tables(SHOP)

    assert [one.ready for one in tables.backends["orders"].endpoints] == [False, True]


def test_services_guarded_alike_share_their_policies() -> None:
    twin = replace(ORDERS, name="default/twin", address="127.80.0.2")

    tables = build_tables(replace(SHOP, services=(ORDERS, twin)))

    assert tables.by_name["default/orders", 80].authz is tables.by_name["default/twin", 80].authz


def test_shadow_is_told() -> None:
    assert build_tables(replace(SHOP, mode=Mode.SHADOW)).shadow
    assert not build_tables(SHOP).shadow


PORT = ORDERS.ports[0]
LOST = (WeightedBackend(backend="lost"),)


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (replace(SHOP, schema_version=2), "schema_version 2"),
        (replace(SHOP, policies=()), "names policy default/readers"),
        (replace(SHOP, policies=(READERS, READERS)), "policy default/readers is there twice"),
        (replace(SHOP, callers=(WEB, WEB)), "pod default/web is there twice"),
        (replace(SHOP, backends=()), "names backend orders"),
        (replace(SHOP, backends=SHOP.backends * 2), "backend orders is there twice"),
        (replace(SHOP, services=(ORDERS, ORDERS)), "service default/orders:80 is there twice"),
        (replace(SHOP, services=(ORDERS, replace(ORDERS, name="default/x"))), "127.80.0.1 is another's"),
        (replace(SHOP, doors=(Door(port=1, service="default/orders", service_port=81),)), "door 1 leads to"),
        (replace(SHOP, doors=SHOP.doors * 2), "door 8080 is there twice"),
        (
            replace(SHOP, services=(replace(ORDERS, ports=(replace(PORT, backends=LOST),)),)),
            "names backend lost",
        ),
        (
            replace(
                SHOP, services=(replace(ORDERS, ports=(replace(PORT, routes=(Route(name="r", backends=LOST),)),)),)
            ),
            "route r names backend lost",
        ),
        (
            replace(
                SHOP,
                services=(
                    replace(
                        ORDERS,
                        ports=(
                            ServicePort(
                                port=80, target_port=1, backends=(WeightedBackend(backend="orders", weight=-1),)
                            ),
                        ),
                    ),
                ),
            ),
            "negative weight",
        ),
    ],
)
def test_an_inconsistent_snapshot_is_refused_with_its_place(snapshot: Snapshot, says: str) -> None:
    with pytest.raises(InconsistentSnapshot, match=says):
        build_tables(snapshot)
