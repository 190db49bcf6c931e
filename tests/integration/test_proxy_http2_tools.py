"""curl, nghttp, h2load and nghttpd, as Debian has them, speak HTTP/2 with the proxy."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.support.programs import needs
from tests.support.proxy_harness import DEADLINE, Backends, Proxy, dial, echo, host, one_service, only, until
from tools.ports import free_port
from tulle.wire.snapshot import Limits, Protocol, Snapshot

pytestmark = needs("curl", "nghttp", "h2load", "nghttpd")
PAGE = b"a page\n" * 1000
PATIENT = Limits(detect_timeout=DEADLINE)
"""Of a proxy that waits until its caller has spoken, however late that is."""
CURL = ("curl", "--silent", "--show-error", "--http2-prior-knowledge", "--noproxy", "*")


@pytest.fixture
def nghttpd(tmp_path: Path) -> Iterator[int]:
    """An endpoint that speaks HTTP/2 only."""
    with serving(tmp_path) as port:
        yield port


@contextmanager
def serving(root: Path, *options: str) -> Iterator[int]:
    """The same, with options."""
    (root / "page").write_bytes(PAGE)
    port = free_port()
    with subprocess.Popen(["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", str(root), *options, str(port)]) as process:
        try:
            until(lambda: _listens(port), "nghttpd listens")
            yield port
        finally:
            process.kill()


def _listens(port: int) -> bool:
    try:
        dial(port).close()
    except ConnectionRefusedError:
        return False
    return True


def speaking(protocol: Protocol, snapshot: Snapshot) -> Snapshot:
    """The same where all endpoints are declared to speak this."""
    backends = tuple(msgspec.structs.replace(one, protocol=protocol) for one in snapshot.backends)
    return msgspec.structs.replace(snapshot, backends=backends)


def run(*words: str, given: bytes = b"") -> bytes:
    done = subprocess.run(words, input=given, capture_output=True, timeout=3 * DEADLINE, check=False)
    assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@pytest.mark.parametrize("speaks", [Protocol.DETECT, Protocol.HTTP2])
def test_curl_gets_a_page(proxy: Proxy, nghttpd: int, speaks: Protocol) -> None:
    door = proxy.door()
    proxy.put(speaking(speaks, one_service({door: Protocol.DETECT}, (host(nghttpd),), limits=PATIENT)))
    url = f"http://127.0.0.1:{door}/page"
    assert run(*CURL, "-w", "%{http_version} %{response_code}", url) == PAGE + b"2 200"
    until(lambda: proxy.metrics().sum("tulle_requests_total", protocol="http2", response_class="2xx") == 1, "counted")
    assert proxy.metrics().sum("tulle_connections_total", protocol="http2") == 1


def test_curl_posts_to_an_endpoint_of_http1(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    snapshot = one_service({door: Protocol.DETECT}, (host(backends.serve(echo)),), limits=PATIENT)
    proxy.put(speaking(Protocol.HTTP, snapshot))
    body = bytes(range(256)) * 4000
    answer = run(*CURL, "--data-binary", "@-", f"http://127.0.0.1:{door}/upload?x=1", given=body)
    assert answer.startswith(b"POST /upload?x=1 HTTP/1.1\r\n")
    assert answer.endswith(body)


def test_curl_of_http1_reaches_an_endpoint_of_http2(proxy: Proxy, nghttpd: int) -> None:
    door = proxy.door()
    proxy.put(speaking(Protocol.HTTP2, one_service({door: Protocol.DETECT}, (host(nghttpd),), limits=PATIENT)))
    words = ("curl", "--silent", "--http1.1", "--noproxy", "*", "-w", "%{http_version} %{response_code}")
    assert run(*words, f"http://127.0.0.1:{door}/page") == PAGE + b"1.1 200"


def test_curl_is_told_why(proxy: Proxy, nghttpd: int) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(nghttpd),), policies=(only("GET"),), limits=PATIENT))
    for size in (b"", b"x", b"x" * 100_000):  # curl sends head and body apart: the answer comes between them
        for _ in range(10):
            said = run(*CURL, "-i", "--data-binary", "@-", f"http://127.0.0.1:{door}/page", given=size).decode()
            assert said.startswith("HTTP/2 403")
            assert "x-tulle-reason: denied" in said
            assert "hint: tulle why " in said


def test_nghttp_gets_many_pages_on_one_connection(proxy: Proxy, nghttpd: int) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(nghttpd),), limits=PATIENT))
    url = f"http://127.0.0.1:{door}/page"
    assert sorted(run("nghttp", "-m", "50", url)) == sorted(PAGE * 50), "it writes streams as they come"
    said = run("nghttp", "-nv", url).decode()
    assert ":status: 200" in said
    until(lambda: proxy.metrics().sum("tulle_requests_total", protocol="http2", response_class="2xx") == 51, "counted")
    assert proxy.metrics().sum("tulle_connections_total", protocol="http2") == 2


@pytest.mark.parametrize("windows", [(), ("-w", "10", "-W", "11")], ids=["wide", "narrow"])
def test_h2load_loses_nothing(proxy: Proxy, nghttpd: int, windows: tuple[str, ...]) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(nghttpd),), limits=PATIENT))
    url = f"http://127.0.0.1:{door}/page"
    said = run("h2load", "-n", "3000", "-c", "6", "-m", "40", *windows, url).decode()
    found = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
    assert found is not None, said
    assert found.groups() == ("3000", "3000", "0", "0", "0")
    until(lambda: proxy.metrics().sum("tulle_connections_open") == 0, "all are closed")
    assert proxy.metrics().sum("tulle_requests_total", protocol="http2", response_class="2xx") == 3000
    assert proxy.metrics().sum("tulle_response_bytes_total") == 3000 * len(PAGE)


def test_an_endpoint_that_allows_few_streams_gets_no_more(proxy: Proxy, tmp_path: Path) -> None:
    """Its limit is known only once it has spoken: until then few are sent, and later connections begin with what is known."""
    door = proxy.door()
    with serving(tmp_path, "-m", "3") as port:
        proxy.put(one_service({door: Protocol.DETECT}, (host(port),), limits=PATIENT))
        said = run("h2load", "-n", "600", "-c", "3", "-m", "20", f"http://127.0.0.1:{door}/page").decode()
    assert "600 succeeded, 0 failed" in said, said
    assert proxy.metrics().sum("tulle_requests_total", response_class="2xx") == 600
