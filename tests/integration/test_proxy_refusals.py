"""What the proxy refuses it remembers for a while, by the id that the caller was told."""

import http.client

from tests.support.proxy_harness import Backends, Client, Proxy, echo, host, one_service, only
from tulle.proxy.refusals import KEPT, MAX_TEXT
from tulle.wire.snapshot import Protocol


def opened(proxy: Proxy, backends: Backends) -> int:
    door = proxy.door()
    snapshot = one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), generation=7, policies=(only("GET"),))
    proxy.put(snapshot)
    return door


def test_a_refused_request_is_found_by_its_id(proxy: Proxy, backends: Backends) -> None:
    with Client(opened(proxy, backends)) as client:
        client.send(b"DELETE /a/b?q HTTP/1.1\r\nhost: Shop:80\r\ncontent-length: 0\r\n\r\n")
        status, head, _ = client.read()
    assert status == 403
    request_id = head.lower().partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()

    (one,) = proxy.get(f"/refusals?id={request_id}")

    assert one.pop("time") > 0
    assert one.pop("trace").startswith(request_id)
    assert one == {
        "id": request_id, "generation": 7, "source": "anonymous", "pod": "", "destination": "default/orders",
        "port": 8001, "method": "DELETE", "host": one["host"], "path": "/a/b", "reason": "denied", "policy": "",
    }  # fmt: skip
    assert proxy.get("/refusals?id=unheard") == []


def test_what_is_no_request_is_found_too(proxy: Proxy, backends: Backends) -> None:
    with Client(opened(proxy, backends)) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
        status, head, _ = client.read()
    assert status == 400
    request_id = head.lower().partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()

    (one,) = proxy.get(f"/refusals?id={request_id}")

    assert (one["reason"], one["method"], one["path"]) == ("bad-request", "", "")


def test_what_passes_is_not_remembered(proxy: Proxy, backends: Backends) -> None:
    with Client(opened(proxy, backends)) as client:
        assert client.get("/")[0] == 200

    assert proxy.get("/refusals") == []


def test_the_last_are_kept_and_long_texts_are_cut(proxy: Proxy, backends: Backends) -> None:
    caller = http.client.HTTPConnection("127.0.0.1", opened(proxy, backends), timeout=20)
    for number in range(KEPT + 3):
        caller.request("PUT", f"/{number}/" + "x" * 2 * MAX_TEXT, headers={"x-request-id": f"{number}-" + "y" * 2000})
        caller.getresponse().read()
    caller.close()

    found = proxy.get("/refusals")

    assert [one["path"].split("/")[1] for one in found] == [str(number) for number in range(3, KEPT + 3)]
    assert {len(one["path"]) for one in found} == {MAX_TEXT}
    assert {len(one["id"]) for one in found} == {MAX_TEXT // 4}
    assert proxy.get("/refusals?id=9-" + "y" * 2000) == [found[6]]
