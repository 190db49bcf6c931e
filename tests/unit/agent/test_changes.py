"""A diff by name, with the path of what changed."""

from tulle.agent.changes import changes
from tulle.compiler import Facts, compile_mesh
from tulle.manifest import Loaded, parse
from tulle.wire.plan import Plan
from tulle.wire.snapshot import Snapshot

OLD = "mesh: shop\nservices:\n  web: {run: /bin/web, port: 80}\n  orders: {run: /bin/orders, port: 81}\n"


def documents(text: str, generation: int = 1) -> tuple[Snapshot, Plan]:
    loaded = parse({"mesh.yaml": text})
    assert isinstance(loaded, Loaded)
    compiled = compile_mesh(loaded.resources, Facts(generation=generation))
    assert not isinstance(compiled, list)
    return compiled.snapshot, compiled.plan


def test_generation_alone_is_no_change() -> None:
    assert changes(documents(OLD, 1), documents(OLD, 2)) == ()


def test_order_of_files_is_no_change() -> None:
    turned = "mesh: shop\nservices:\n  orders: {run: /bin/orders, port: 81}\n  web: {run: /bin/web, port: 80}\n"

    assert changes(documents(OLD), documents(turned)) == ()


def test_added_removed_and_changed_are_named() -> None:
    new = "mesh: shop\nmode: shadow\nservices:\n  web: {run: /bin/web --new, port: 80}\n  cart: {run: /bin/cart, port: 82}\n"

    found = {(one.what, one.name, str(one.how)): one.details for one in changes(documents(OLD), documents(new))}

    assert ("service", "default/cart", "added") in found
    assert ("service", "default/orders", "removed") in found
    assert ("pod", "default/orders", "removed") in found
    assert found["pod", "default/web", "changed"] == ('argv: ["/bin/web"] → ["/bin/web", "--new"]',)
    assert found["mesh", "shop", "changed"] == ('mode: "enforce" → "shadow"',)


def test_everything_is_added_to_nothing() -> None:
    assert {one.how for one in changes(None, documents(OLD))} == {"added"}


def test_a_changed_weight_is_named_by_its_place_and_with_its_default() -> None:
    orders = "mesh: shop\nservices:\n  orders: {port: 9000, protocol: tcp, versions: {v1: {run: a, weight: 99}, v2: {run: b, weight: %d}}}\n"

    (change,) = changes(documents(orders % 1), documents(orders % 50))

    assert (change.what, change.name) == ("service", "default/orders")
    assert change.details == ("ports[9000].backends[default/orders-v2:9000].weight: 1 → 50",)


def test_an_inner_member_that_comes_or_goes_is_named() -> None:
    one = "mesh: shop\nservices:\n  web: {run: w, port: 80, allow: [{from: [orders]}]}\n  orders: {run: o}\n"
    calls = one.replace("{run: o}", "{run: o, calls: [web]}")

    (change,) = changes(documents(one), documents(calls))

    assert (change.what, change.name) == ("caller", "default/orders")
    assert change.details == ('calls: unset → ["default/web"]',)
