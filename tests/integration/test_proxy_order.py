"""What the supervisor said before a caller asked is known when the caller is answered."""

import signal

from tests.support.proxy_harness import Backends, Client, Proxy, echo, one_service
from tulle.wire.snapshot import PodEndpoint, Protocol


def test_a_pod_that_was_ready_before_the_request_is_reached(proxy: Proxy, backends: Backends) -> None:
    port = backends.serve(echo)
    for generation in range(1, 21):
        door, pod = proxy.door(), PodEndpoint(workload=f"default/orders-{generation}", port=port)
        proxy.put(one_service({door: Protocol.HTTP}, (pod,), generation=generation))
        with Client(door) as kept:
            kept.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert kept.read()[0] == 503
            proxy.process.send_signal(signal.SIGSTOP)
            proxy.hand_over("ready", pod.workload)
            kept.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            with Client(door) as anew:
                anew.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                proxy.process.send_signal(signal.SIGCONT)
                assert (kept.read()[0], anew.read()[0]) == (200, 200), generation
