import pytest

from tulle.core.request import RequestView, canonical_host, canonical_path


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a.b/c~d", "/a:b@c!$&'()*+,="])
def test_a_plain_path_is_one_object_twice(path: str) -> None:
    found = canonical_path(path.encode())

    assert found == (path, path)
    assert found[0] is found[1]


@pytest.mark.parametrize(
    ("raw", "canonical", "folded"),
    [
        (b"", "/", "/"),
        (b"*", "*", "*"),
        (b"/.", "/", "/"),
        (b"/..", "/", "/"),
        (b"/a/..", "/", "/"),
        (b"/a/.", "/a/", "/a/"),
        (b"/...", "/...", "/..."),
        (b"/.a/..b", "/.a/..b", "/.a/..b"),
        (b"/a//../b", "/a/b", "/a/b"),
        (b"/a;x/..;y/b", "/a;x/..;y/b", "/b"),
        (b"/admin;x=1", "/admin;x=1", "/admin"),
        (b"/admin;x/;y/users;z", "/admin;x/;y/users;z", "/admin/users"),
        (b"/admin%3Bx", "/admin%3Bx", "/admin"),
        (b"/admin%253bx", "/admin%253bx", "/admin"),
        (b"/a/;/", "/a/;/", "/a/"),
        (b"/;", "/;", "/"),
        (b"/%7Ea%2da", "/~a-a", "/~a-a"),
        (b"/%2f%2F", "/%2F%2F", "/"),
        (b"/%5c..%5cb", "/%5C..%5Cb", "/b"),
        (b"/%ff", "/%FF", "/\udcff"),
        (b"/\xff", "/%FF", "/\udcff"),
        (b"/100%25", "/100%25", "/100%"),
        (b"/%25%34%31", "/%2541", "/A"),
    ],
)
def test_two_readings(raw: bytes, canonical: str, folded: str) -> None:
    assert canonical_path(raw) == (canonical, folded)


@pytest.mark.parametrize(
    "raw", [b"a", b"**", b"/%", b"/%4", b"/%g0", b"/a b", b"/\n", b"/\x7f", b"/%00", b"/%2500", b"/a?b", b"/a#b"]
)
def test_what_no_server_should_see_is_refused(raw: bytes) -> None:
    assert canonical_path(raw) is None


@pytest.mark.parametrize(
    "raw",
    [b"/a;x%2fb", b"/a;x%5Cb", b"/a;x\\b", b"/a;x%252fb", b"/a%3bx%2Fb", b"/a%253Bx%2Fb", b"/a%25%33%62x%252%46b"],
)
def test_an_escaped_slash_within_parameters_is_refused(raw: bytes) -> None:
    """Whoever cuts off before decoding sees `/a`, who decodes first sees `/a/b`."""
    assert canonical_path(raw) is None


def test_an_escaped_slash_of_another_segment_is_none_of_the_parameters() -> None:
    assert canonical_path(b"/a;x/b%2Fc") == ("/a;x/b%2Fc", "/a/b/c")
    assert canonical_path(b"/b%2Fc;x") == ("/b%2Fc;x", "/b/c")


def test_escapes_within_escapes_end_somewhere() -> None:
    assert canonical_path("/%" + "25" * 3 + "2e") == ("/%2525252e", "/")
    assert canonical_path("/%" + "25" * 4 + "2e") is None
    assert canonical_path("/%" + "25" * 8000) is None


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        (b"Orders", "orders"),
        (b"orders.:80", "orders"),
        (b"orders.prod:", "orders.prod"),
        (b"127.80.0.1:9000", "127.80.0.1"),
        (b"[::1]:80", "[::1]"),
        (b"a_b", "a_b"),
        (b"", None),
        (b":80", None),
        (b"..", None),
        (b"a..b", None),
        (b"a:b", None),
        (b"u@a", None),
        (b"a/b", None),
        (b"%61", None),
        ("\u212aing", None),
        (b"[::1", None),
        (b"a" * 256, None),
    ],
)
def test_a_host_is_read_one_way(raw: bytes | str, host: str | None) -> None:
    assert canonical_host(raw) == host


def test_repeated_headers_are_one_value() -> None:
    request = RequestView("GET", "/", "/", "h", [(b"x", b"1"), (b"y", b"2"), (b"x", b"3")])

    assert request.header(b"x") == b"1,3"
    assert request.header(b"y") == b"2"
    assert request.header(b"z") is None
