"""Names are parsed once, and refuse what they are not."""

import pytest

from tulle.model.names import ServiceName, SpiffeId, WorkloadName


def test_an_identity_prints_as_it_was_written() -> None:
    text = "spiffe://shop.local/ns/default/sa/web"

    parsed = SpiffeId.parse(text)

    assert str(parsed) == text
    assert parsed == SpiffeId.of("shop.local", "default", "web")
    assert parsed.principal == "shop.local/ns/default/sa/web"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://",
        "spiffe://shop.local",
        "spiffe://shop.local/",
        "https://shop.local/ns/default",
        "spiffe://Shop.local/ns/default",
        "spiffe://shop.local//ns",
        "spiffe://shop.local/ns/../sa",
        "spiffe://shop.local/ns/a b",
        "spiffe://shop.local/ns/default/",
        "spiffe://user@shop.local/ns",
        "spiffe://shop.local:80/ns",
    ],
)
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a SPIFFE ID"):
        SpiffeId.parse(text)


def test_a_bare_name_belongs_to_the_namespace_it_stands_in() -> None:
    assert str(ServiceName.parse("orders", "shop")) == "shop/orders"
    assert str(ServiceName.parse("prod/orders", "shop")) == "prod/orders"


def test_a_service_and_a_workload_of_one_name_are_not_the_same() -> None:
    assert len({ServiceName("a", "b"), ServiceName("a", "b"), WorkloadName("a", "b")}) == 2


@pytest.mark.parametrize("text", ["", "/", "a/", "/a", "a/b/c", "A", "a_b", "-a", "a-", "a" * 64, "ü", "*"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        ServiceName.parse(text, "default")
