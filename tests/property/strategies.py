"""Small worlds in which everything collides with everything."""

from hypothesis import strategies as st

from tulle.core.request import RequestView, canonical_path
from tulle.wire.snapshot import (
    Action,
    Backend,
    Caller,
    HeaderMatch,
    Match,
    Operation,
    PathMatch,
    Policy,
    Route,
    Rule,
    Service,
    ServicePort,
    Snapshot,
    Source,
    WeightedBackend,
)


def some(values: st.SearchStrategy[str] | list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """None to two values."""
    strategy = st.sampled_from(values) if isinstance(values, list) else values
    return st.lists(strategy, max_size=2).map(tuple)


_ports = st.lists(st.sampled_from([80, 81]), max_size=2).map(tuple)
principals = ["m/ns/a/sa/x", "m/ns/a/sa/y", "m/ns/b/sa/x", "*", "m/ns/a/*", "*/sa/x"]
namespaces = ["a", "b", "*", "a*", "*b"]
methods = ["GET", "POST", "*", "P*", "*T"]
hosts = ["h", "h.x", "*", "h*", "*.x"]
path_patterns = ["/", "/a", "/a/*", "*/b", "*", "/a%2Fb", "/a/b", "/é*", "/a//*"]
raw_paths = st.text(alphabet="/ab.%;\\é2fFeE5cC", max_size=12).map(lambda text: "/" + text)

sources = st.builds(
    Source,
    principals=some(principals),
    not_principals=some(principals),
    namespaces=some(namespaces),
    not_namespaces=some(namespaces),
)
operations = st.builds(
    Operation,
    methods=some(methods),
    not_methods=some(methods),
    paths=some(path_patterns),
    not_paths=some(path_patterns),
    hosts=some(hosts),
    not_hosts=some(hosts),
    ports=_ports,
    not_ports=_ports,
)
rules = st.builds(
    Rule,
    sources=st.lists(sources, max_size=2).map(tuple),
    operations=st.lists(operations, max_size=2).map(tuple),
)
policies = st.lists(
    st.builds(
        Policy,
        name=st.sampled_from(["a/p", "a/q", "b/p", "z/z"]),
        action=st.sampled_from(Action),
        rules=st.lists(rules, max_size=2).map(tuple),
    ),
    max_size=4,
    unique_by=lambda policy: policy.name,
).map(tuple)
callers = st.builds(
    Caller,
    pod=st.just("a/pod"),
    principal=st.sampled_from(principals[:3]),
    namespace=st.sampled_from(namespaces[:2]),
    service=st.just("a/pod"),
    calls=st.none() | some(["s/s", "s/*", "*", "s/t", "a/*"]),
)


@st.composite
def requests(draw: st.DrawFn) -> RequestView:
    """A request whose path was accepted."""
    readings = draw(raw_paths.map(canonical_path).filter(lambda found: found is not None))
    assert readings is not None
    headers = draw(st.lists(st.tuples(st.sampled_from([b"x", b"y"]), st.sampled_from([b"1", b"2"])), max_size=2))
    host = draw(st.sampled_from(["h", "h.x", "a.h.x", "x", ""]))
    return RequestView(draw(st.sampled_from(["GET", "POST", "PUT"])), *readings, host, headers)


def guarded(policies: tuple[Policy, ...], caller: Caller | None = None) -> Snapshot:
    """One service, `s/s` at port 80, target 81, guarded by all these policies."""
    port = ServicePort(port=80, target_port=81)
    names = tuple(policy.name for policy in policies)
    service = Service(name="s/s", address="127.80.0.1", ports=(port,), policies=names)
    callers = () if caller is None else (caller,)
    return Snapshot(generation=1, mesh="m", trust_domain="m", policies=policies, services=(service,), callers=callers)


matches = st.builds(
    Match,
    path=st.none()
    | st.builds(PathMatch, value=st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab", "/a/b/a"]), exact=st.booleans()),
    method=st.none() | st.sampled_from(["GET", "POST"]),
    headers=st.lists(
        st.builds(HeaderMatch, name=st.sampled_from(["x", "y"]), value=st.sampled_from(["1", "2"])),
        max_size=2,
        unique_by=lambda header: header.name,
    ).map(tuple),
)
routes = st.lists(
    st.builds(
        Route,
        name=st.sampled_from([f"{route}#{rule}" for route in ("a/r", "a/s", "b/r") for rule in (0, 2, 10)]),
        hostnames=some(["h", "h.x", "*.x", "*.h.x"]),
        matches=st.lists(matches, max_size=2).map(tuple),
    ),
    max_size=6,
    unique_by=lambda route: route.name,
).map(tuple)


def routed(routes: tuple[Route, ...]) -> Snapshot:
    """One service, `s/s` at port 80, with these routes."""
    service = Service(name="s/s", address="127.80.0.1", ports=(ServicePort(port=80, target_port=81, routes=routes),))
    return Snapshot(generation=1, mesh="m", trust_domain="m", services=(service,))


def split(weights: list[int]) -> Snapshot:
    """One service, `s/s` at port 80, with a backend of each weight, named by its place in the list."""
    backends = tuple(Backend(name=str(number), service="s/s") for number in range(len(weights)))
    shares = tuple(WeightedBackend(backend=str(number), weight=weight) for number, weight in enumerate(weights))
    port = ServicePort(port=80, target_port=81, backends=shares)
    service = Service(name="s/s", address="127.80.0.1", ports=(port,))
    return Snapshot(generation=1, mesh="m", trust_domain="m", services=(service,), backends=backends)
