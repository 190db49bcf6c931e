"""Tables made of what came before, a piece at a time, are those that are made of nothing, at once; and faults are those of a whole decoding."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.property.strategies import callers, guarded, policies, requests, routes
from tests.support.generations import described
from tulle.core.authorize import judge
from tulle.core.pieces import at_once
from tulle.core.policies import ANONYMOUS
from tulle.core.request import RequestView
from tulle.core.tables import build_tables, lay_out, text_of
from tulle.wire.snapshot import (
    Backend,
    Caller,
    HostEndpoint,
    PodEndpoint,
    Policy,
    Protocol,
    Service,
    ServicePort,
    Snapshot,
    WeightedBackend,
    decode_snapshot,
    encode_snapshot,
)

endpoints = st.builds(PodEndpoint, workload=st.sampled_from(["a/x", "a/y"]), port=st.sampled_from([1, 2])) | st.builds(
    HostEndpoint, workload=st.sampled_from(["a/x", "a/y"]), host=st.sampled_from(["h", "::1"]), port=st.just(1)
)
backends = st.lists(
    st.builds(
        Backend,
        name=st.sampled_from(["a", "b", "c"]),
        service=st.just("s/s"),
        version=st.sampled_from(["", "v1"]),
        protocol=st.sampled_from(Protocol),
        endpoints=st.lists(endpoints, max_size=2).map(tuple),
    ),
    max_size=3,
    unique_by=lambda backend: backend.name,
).map(tuple)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Two services guarded by some of the policies, routed to some of the backends."""
    guards = draw(policies)
    behind = draw(backends)
    shares = draw(st.lists(st.sampled_from(behind), max_size=2, unique=True)) if behind else []
    weights = tuple(WeightedBackend(backend=one.name, weight=draw(st.integers(0, 2))) for one in shares)
    found = draw(routes)
    services = []
    for number in range(2):
        names = draw(st.lists(st.sampled_from(guards), unique=True)) if guards else []
        port = ServicePort(
            port=80,
            target_port=draw(st.sampled_from([80, 81])),
            routes=tuple(replace(route, backends=weights) for route in found),
            backends=weights,
        )
        services.append(
            Service(
                name=f"s/{number}",
                address=f"127.80.0.{number}",
                ports=(port,),
                policies=tuple(policy.name for policy in names),
            )
        )
    return Snapshot(
        generation=draw(st.integers(1, 3)),
        mesh="m",
        trust_domain="m",
        callers=draw(st.lists(callers, max_size=1).map(tuple)),
        services=tuple(services),
        backends=behind,
        policies=guards,
    )


@given(st.lists(snapshots(), min_size=2, max_size=4), st.lists(requests(), max_size=2))
def test_generations_after_another_are_as_if_each_were_the_first(
    found: list[Snapshot], asked: list[RequestView]
) -> None:
    before = None
    for snapshot in found:
        text = encode_snapshot(snapshot)
        after = at_once(lay_out(text, before))
        alone = build_tables(snapshot)
        assert described(after) == described(alone)
        assert text_of(after) == text
        for name, port in after.by_name.items():
            for request in (None, *asked):  # what has been judged is laid out, and taken over by the next
                for caller, twin in [
                    (ANONYMOUS, ANONYMOUS),
                    *zip(after.callers.values(), alone.callers.values(), strict=True),
                ]:
                    assert judge(port, caller, request) == judge(alone.by_name[name], twin, request)
        before = after


@given(policies, st.none() | callers, st.data())
def test_a_broken_part_is_told_in_the_words_of_a_whole_decoding(
    guards: tuple[Policy, ...], caller: Caller | None, data: st.DataObject
) -> None:
    text = encode_snapshot(guarded(guards, caller))
    place = data.draw(st.integers(0, len(text) - 1))
    octets = data.draw(st.sampled_from([b"", b"1", b"{", b'"', b"\\", b"\xff", b"null", b"]", b"\\ud800", b" "]))
    broken = text[:place] + octets + text[place + data.draw(st.integers(0, 3)) :]
    try:
        decode_snapshot(broken)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        with pytest.raises(type(fault)) as raised:
            at_once(lay_out(broken))
        assert str(raised.value) == str(fault)
