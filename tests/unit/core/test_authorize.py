import pytest
from msgspec.structs import replace

from tests.unit.core.worlds import READERS, SHOP, WEB, request
from tulle.core.authorize import ANONYMOUS, MAX_PLANS, Allow, Deny, explain, judge
from tulle.core.policies import CallerRef
from tulle.core.tables import Tables, build_tables
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Action, Operation, Policy, Rule, Snapshot, Source


def judged(snapshot: Snapshot, method: str = "GET", path: str = "/o/1") -> Allow | Deny:
    tables = build_tables(snapshot)
    return judge(tables.by_name["default/orders", 80], tables.callers["default/web"], request(method, path))


def guarded(*policies: Policy) -> Snapshot:
    orders = replace(SHOP.services[0], policies=tuple(one.name for one in policies))
    return replace(SHOP, services=(orders,), policies=policies)


def test_a_verdict_names_its_policy() -> None:
    assert judged(SHOP) == Allow("default/readers")
    assert judged(SHOP, "POST") == Deny(None, Reason.DENIED)


def test_ports_are_the_target_s() -> None:
    on = guarded(Policy(name="p", action=Action.ALLOW, rules=(Rule(operations=(Operation(ports=(9000,)),)),)))
    off = guarded(Policy(name="p", action=Action.ALLOW, rules=(Rule(operations=(Operation(ports=(80,)),)),)))

    assert judged(on) == Allow("p")
    assert judged(off) == Deny(None, Reason.DENIED)


def test_a_source_pattern_never_matches_across_fields() -> None:
    both = Source(principals=("*/sa/web",), namespaces=("prod",))
    snapshot = guarded(Policy(name="p", action=Action.ALLOW, rules=(Rule(sources=(both,)),)))

    assert judged(snapshot) == Deny(None, Reason.DENIED)


def test_policies_of_other_services_cost_and_mean_nothing() -> None:
    others = tuple(Policy(name=f"other/{n}", action=Action.DENY, rules=(Rule(),)) for n in range(1000))
    tables = build_tables(replace(SHOP, policies=(READERS, *others)))
    port = tables.by_name["default/orders", 80]

    assert judge(port, tables.callers["default/web"], request("GET", "/o/1")) == Allow("default/readers")
    assert not port.authz.denies
    assert [policy.name for policy in port.authz.allows] == ["default/readers"]


@pytest.mark.parametrize(
    ("pattern", "path"), [("/a//b", "/a/b"), ("/a//*", "/a/b"), ("/a;v=1/b", "/a/b"), ("*//b", "/a/b")]
)
def test_a_denial_reads_a_plain_path_as_the_most_lenient_server_reads_its_own(pattern: str, path: str) -> None:
    """To that server both are one path."""
    deny = Policy(name="p", action=Action.DENY, rules=(Rule(operations=(Operation(paths=(pattern,)),)),))
    port = build_tables(guarded(deny)).by_name["default/orders", 80]

    assert judge(port, ANONYMOUS, request("GET", path)) == Deny("p", Reason.DENIED)


@pytest.mark.parametrize(
    ("pattern", "path"), [("/a//b", "/a/b"), ("/a//*", "/a/b"), ("/a;v=1/b", "/a/b"), ("*//b", "/a/b")]
)
def test_what_an_allowance_excepts_is_read_likewise_and_explained_so(pattern: str, path: str) -> None:
    allow = Policy(name="p", action=Action.ALLOW, rules=(Rule(operations=(Operation(not_paths=(pattern,)),)),))
    port = build_tables(guarded(allow)).by_name["default/orders", 80]

    assert judge(port, ANONYMOUS, request("GET", path)) == Deny(None, Reason.DENIED)
    assert judge(port, ANONYMOUS, request("GET", "/c")) == Allow("p")
    nearest = explain(port, ANONYMOUS, request("GET", path)).nearest
    assert nearest is not None
    assert [field.label for field in nearest.failed] == ["notPaths"]


def test_rules_for_other_callers_are_not_looked_at_again() -> None:
    others = tuple(
        Policy(
            name=f"p{n:04}",
            action=Action.ALLOW,
            rules=(Rule(sources=(Source(principals=(f"shop/{n}",)),), operations=(Operation(methods=("PUT",)),)),),
        )
        for n in range(1000)
    )
    tables = build_tables(guarded(*others, READERS))
    port, web = tables.by_name["default/orders", 80], tables.callers["default/web"]

    judge(port, web, request("GET", "/o/1"))

    assert len(port.plans[web].allows) == 1


def test_callers_are_remembered_within_a_bound() -> None:
    port = build_tables(SHOP).by_name["default/orders", 80]

    for number in range(MAX_PLANS + 10):
        judge(port, CallerRef("", f"shop/ns/x/sa/{number}", "x", "x", None), None)

    assert len(port.plans) == 10


def explained(tables: Tables, method: str, path: str, caller: CallerRef | None = None) -> list[str]:
    port = tables.by_name["default/orders", 80]
    found = explain(port, caller or tables.callers["default/web"], request(method, path))
    return [] if found.nearest is None else [found.nearest.policy, *map(str, found.nearest.failed)]


def test_an_explanation_names_every_field_in_the_way() -> None:
    tables = build_tables(SHOP)

    assert explained(tables, "POST", "/o/1") == ["default/readers", "methods GET: is POST"]
    assert explained(tables, "GET", "/o/..%2fx") == ["default/readers", "paths /o/*: is /o/..%2Fx (/x)"]
    assert explained(tables, "POST", "/x", ANONYMOUS) == [
        "default/readers",
        "principals */sa/web: is nothing",
        "methods GET: is POST",
        "paths /o/*: is /x",
    ]
    assert explained(tables, "GET", "/o/1") == []


def test_an_explanation_of_opaque_tcp_says_that_http_fields_cannot_match() -> None:
    tables = build_tables(SHOP)

    found = explain(tables.by_name["default/orders", 80], tables.callers["default/web"], None)

    assert found.nearest is not None
    assert [field.label for field in found.nearest.failed] == ["methods", "paths"]


def test_the_nearest_rule_has_the_fewest_fields_in_the_way() -> None:
    far = Policy(
        name="a-far", action=Action.ALLOW, rules=(Rule(sources=(Source(namespaces=("x",), principals=("y",)),)),)
    )
    near = Rule(operations=(Operation(not_methods=("GET",)), Operation(methods=("PUT",), paths=("/p",))))
    tables = build_tables(guarded(far, replace(READERS, rules=(*READERS.rules, near))))
    port = tables.by_name["default/orders", 80]

    found = explain(port, ANONYMOUS, request("GET", "/x"))

    assert found.nearest is not None
    assert (found.nearest.policy, found.nearest.number) == ("default/readers", 1)
    assert [policy.name for policy in found.policies] == ["a-far", "default/readers"]


def test_calls_denied_is_told_beside_the_rules_that_would_allow() -> None:
    tables = build_tables(replace(SHOP, callers=(replace(WEB, calls=("default/x",)),)))

    found = explain(tables.by_name["default/orders", 80], tables.callers["default/web"], request("GET", "/o/1"))

    assert found.verdict == Deny(None, Reason.CALLS_DENIED)
    assert not found.calls_hold
    assert found.policies[0].rules[0].matched
