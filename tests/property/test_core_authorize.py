"""Laws of authorization."""

from itertools import product
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.property.strategies import callers, guarded, policies, requests, rules
from tests.support import reference
from tulle.core.authorize import ANONYMOUS, Allow, Deny, explain, judge
from tulle.core.request import RequestView
from tulle.core.tables import build_tables
from tulle.wire.snapshot import Action, Caller, Operation, Policy, Rule, Source

BEGINNINGS = ["/" + "".join(rest) for length in range(4) for rest in product("/ab", repeat=length)]
DENIALS = tuple(
    Policy(
        name=f"{'amz'[number % 3]}/deny{number}",
        action=Action.DENY,
        rules=(Rule(operations=(Operation(methods=("PUT",), paths=(path, f"{path}.b/a*")),)),),
    )
    for number, path in enumerate(BEGINNINGS)
)
LEAVE = tuple(
    Policy(
        name=f"{'zma'[number % 3]}/allow{number}",
        action=Action.ALLOW,
        rules=(
            Rule(
                sources=(Source(principals=("m/ns/b/sa/x",)), Source(not_namespaces=("a",))) if number % 4 else (),
                operations=(Operation(paths=(f"{path}*",), ports=(81,) if number % 5 else (80,)),),
            ),
        ),
    )
    for number, path in enumerate(BEGINNINGS)
)
LONG = tuple(
    Policy(
        name=f"m/long{number:02}",
        action=Action.ALLOW,
        rules=(Rule(operations=(Operation(methods=("GET",), paths=(f"/a{'b' * number}*", f"/{'a' * number}")),)),),
    )
    for number in range(40)
)
CROWDS = (DENIALS, LEAVE, LONG, DENIALS + LEAVE, DENIALS + LEAVE + LONG)
"""Some of which a path that `requests` makes up begins with."""

calls = st.tuples(st.none() | callers, st.none() | requests())
Call = tuple[Caller | None, RequestView | None]


def judged(guards: tuple[Policy, ...], call: Call) -> Allow | Deny:
    caller, request = call
    tables = build_tables(guarded(guards, caller))
    return judge(tables.by_name["s/s", 80], tables.callers.get("a/pod", ANONYMOUS), request)


@given(policies, calls)
def test_judge_equals_the_naive_reference(guards: tuple[Policy, ...], call: Call) -> None:
    snapshot = guarded(guards, call[0])
    service = snapshot.services[0]

    assert judged(guards, call) == reference.verdict(snapshot, service, service.ports[0], *call)


@given(policies, st.none() | callers, st.lists(st.none() | requests(), min_size=1, max_size=5), st.sampled_from(CROWDS))
def test_so_many_policies_that_they_are_looked_up_judge_as_the_naive_reference_does(
    guards: tuple[Policy, ...], caller: Caller | None, asked: list[RequestView | None], crowd: tuple[Policy, ...]
) -> None:
    snapshot = guarded((*guards, *crowd), caller)
    service = snapshot.services[0]
    tables = build_tables(snapshot)
    port, who = tables.by_name["s/s", 80], tables.callers.get("a/pod", ANONYMOUS)
    assert port.authz.denied.is_wide or port.authz.allowed.is_wide

    for request in asked:
        expected = reference.verdict(snapshot, service, service.ports[0], caller, request)
        assert judge(port, who, request) == expected
        if request is not None and port.plans[who].constant is not None:
            assert port.plans[who].constant == expected


@given(policies, st.lists(rules, max_size=2), calls)
def test_another_deny_never_allows_more(guards: tuple[Policy, ...], added: list[Rule], call: Call) -> None:
    more = (*guards, Policy(name="new/deny", action=Action.DENY, rules=tuple(added)))

    assert isinstance(judged(guards, call), Allow) or isinstance(judged(more, call), Deny)


@given(policies, rules, calls)
def test_another_rule_of_an_allow_never_denies_more(guards: tuple[Policy, ...], added: Rule, call: Call) -> None:
    more = tuple(replace(one, rules=(*one.rules, added)) if one.action is Action.ALLOW else one for one in guards)

    assert isinstance(judged(guards, call), Deny) or isinstance(judged(more, call), Allow)


@given(policies, calls, st.randoms(use_true_random=False))
def test_the_order_of_policies_and_rules_means_nothing(guards: tuple[Policy, ...], call: Call, dice: Random) -> None:
    shuffled = [replace(one, rules=tuple(reversed(one.rules))) for one in guards]
    dice.shuffle(shuffled)

    assert judged(tuple(shuffled), call) == judged(guards, call)


@given(policies, callers, requests())
def test_anonymous_callers_get_in_only_where_no_source_is_asked_for(
    guards: tuple[Policy, ...], caller: Caller, request: RequestView
) -> None:
    asking = [replace(one, rules=tuple(rule for rule in one.rules if _asks_for_source(rule))) for one in guards]
    closed = (*asking, Policy(name="nothing", action=Action.ALLOW))

    assert isinstance(judged(closed, (None, request)), Deny)


@given(policies, calls)
def test_the_same_call_gets_the_same_verdict_again(guards: tuple[Policy, ...], call: Call) -> None:
    tables = build_tables(guarded(guards, call[0]))
    port, caller = tables.by_name["s/s", 80], tables.callers.get("a/pod", ANONYMOUS)

    assert judge(port, caller, call[1]) is judge(port, caller, call[1])


@given(policies, calls)
def test_an_explanation_agrees_with_its_verdict(guards: tuple[Policy, ...], call: Call) -> None:
    tables = build_tables(guarded(guards, call[0]))
    port, caller = tables.by_name["s/s", 80], tables.callers.get("a/pod", ANONYMOUS)

    told = explain(port, caller, call[1])
    matched = [one for one in told.policies if any(rule.matched for rule in one.rules)]
    denies = [one.name for one in matched if one.action == "DENY"]
    allows = [one.name for one in matched if one.action == "ALLOW"]

    assert told.verdict == judge(port, caller, call[1])
    if denies:
        assert told.verdict.by == denies[0]
    elif isinstance(told.verdict, Allow) and told.verdict.by:
        assert told.verdict.by == allows[0]
    elif told.calls_hold:
        assert not allows
    if told.nearest is not None:
        assert told.nearest.matched <= (not told.calls_hold)


def _asks_for_source(rule: Rule) -> bool:
    return bool(rule.sources) and all(one.principals or one.namespaces for one in rule.sources)
