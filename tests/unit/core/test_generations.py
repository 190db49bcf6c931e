"""What one generation takes over from the one before, and when its pieces are laid out."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from tests.unit.core.worlds import ORDERS, READERS, SHOP, WEB, request
from tulle.core.authorize import judge
from tulle.core.tables import Tables, build_tables, lay_out
from tulle.core.verdict import Deny
from tulle.wire.outline import Outline
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Action, Policy, Snapshot, encode_snapshot

WRITERS = Policy(name="default/writers", action=Action.DENY)
TWO = replace(SHOP, policies=(READERS, WRITERS), services=(replace(ORDERS, policies=(READERS.name, WRITERS.name)),))


def call(tables: Tables) -> None:
    judge(tables.by_name["default/orders", 80], tables.callers["default/web"], request("GET", "/o/1"))


def laid_out(tables: Tables) -> set[str]:
    return {policy.name for policy in tables.parts.policies.made.values()}


def test_policies_are_laid_out_when_a_caller_is_judged_by_them() -> None:
    tables = build_tables(SHOP)
    assert not laid_out(tables)

    call(tables)

    assert laid_out(tables) == {READERS.name}


def test_policies_of_what_is_called_are_laid_out_before_the_swap() -> None:
    before = build_tables(SHOP)
    call(before)

    after = build_tables(TWO, before)

    assert laid_out(after) == {READERS.name, WRITERS.name}
    assert not after.by_name["default/orders", 80].plans


def test_policies_of_what_is_not_called_are_not() -> None:
    assert not laid_out(build_tables(TWO, build_tables(SHOP)))


def test_a_policy_that_did_not_change_is_the_same_object_wherever_it_is() -> None:
    before = build_tables(SHOP)
    call(before)

    after = build_tables(replace(TWO, policies=(WRITERS, READERS)), before)

    assert after.parts.policies.policy(1) is before.parts.policies.policy(0)


def routes(tables: Tables) -> object:
    return tables.by_name["default/orders", 80].routes


def backend(tables: Tables) -> object:
    return tables.backends["orders"]


def caller(tables: Tables) -> object:
    return tables.callers["default/web"]


def policy(tables: Tables) -> object:
    return tables.parts.policies.policy(0)


BACKEND = SHOP.backends[0]
OTHER_BACKEND = replace(SHOP, backends=(replace(BACKEND, version="v2"),))


@pytest.mark.parametrize(
    ("snapshot", "kept", "made_anew"),
    [
        (replace(SHOP, generation=8), (routes, backend, caller, policy), ()),
        (OTHER_BACKEND, (caller, policy), (routes, backend)),
        (replace(SHOP, callers=(replace(WEB, calls=()),)), (routes, backend, policy), (caller,)),
        (replace(SHOP, policies=(replace(READERS, action=Action.DENY),)), (routes, backend, caller), (policy,)),
        (
            replace(SHOP, services=(replace(ORDERS, ports=(replace(ORDERS.ports[0], target_port=9001),)),)),
            (backend, caller, policy),
            (routes,),
        ),
    ],
)
def test_one_field_decides_what_is_made_anew(
    snapshot: Snapshot, kept: tuple[Callable[[Tables], object], ...], made_anew: tuple[Callable[[Tables], object], ...]
) -> None:
    before = build_tables(SHOP)
    call(before)

    after = build_tables(snapshot, before)

    assert all(of(after) is of(before) for of in kept)
    assert not any(of(after) is of(before) for of in made_anew)


def test_a_service_that_did_not_change_is_routed_to_the_backend_that_did() -> None:
    after = build_tables(OTHER_BACKEND, build_tables(SHOP))

    route = after.by_name["default/orders", 80].routes.only

    assert route is not None
    assert [one.version for one in route.backends] == ["v2"]


def test_a_service_that_did_not_change_is_guarded_by_the_policy_that_did() -> None:
    before = build_tables(SHOP)
    call(before)

    after = build_tables(replace(SHOP, policies=(replace(READERS, action=Action.DENY),)), before)

    port = after.by_name["default/orders", 80]
    assert [one.name for one in port.authz.denies] == [READERS.name]
    assert judge(port, after.callers["default/web"], request("GET", "/o/1")) == Deny(READERS.name, Reason.DENIED)


def test_what_is_given_up_half_way_leaves_the_generation_before_as_it_was() -> None:
    before = build_tables(SHOP)
    call(before)
    port = before.by_name["default/orders", 80]

    making = lay_out(encode_snapshot(replace(OTHER_BACKEND, generation=8)), before)
    for _ in range(3):
        next(making)
    making.close()

    assert before.by_name["default/orders", 80] is port
    assert [one.name for one in port.authz.allows] == [READERS.name]
    assert before.backends["orders"].version == "v1"


def test_an_outline_says_all_that_a_snapshot_says() -> None:
    fields = {field.name: (field.default, field.required) for field in msgspec.structs.fields(Snapshot)}
    assert {field.name: (field.default, field.required) for field in msgspec.structs.fields(Outline)} == fields
