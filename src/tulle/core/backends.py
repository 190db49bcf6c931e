"""Where requests go: endpoints, the backends they make up, and the weighted backends of a route."""

from collections.abc import Sequence
from typing import final

from tulle.wire.snapshot import Protocol


@final
class EndpointRef:
    """One place to connect to. Survives new snapshots, so what is in flight stays counted."""

    __slots__ = ("host", "in_flight", "is_squatted", "pod", "port", "ready", "workload")

    def __init__(self, workload: str, pod: str, host: str, port: int) -> None:
        self.workload: str = workload
        """`namespace/workload`."""
        self.pod: str = pod
        """The pod whose network the broker dials in; empty: dialled from the proxy's own."""
        self.host: str = host
        """An IP address or DNS name; empty for a pod and for what is attached, where loopback of either family is tried."""
        self.port: int = port
        self.ready: bool = not pod
        """Set by the proxy as it learns; a pod's does not start ready, others do."""
        self.in_flight: int = 0
        """Requests or connections being served; counted by the proxy."""
        self.is_squatted: bool = False
        """Somebody else listened where what is attached should, when it was last tried."""

    @property
    def is_attached(self) -> bool:
        """On the box's loopback; whoever listens must be recognised as its workload."""
        return not self.pod and not self.host

    def __repr__(self) -> str:
        return f"EndpointRef({self.pod or self.host or self.workload}:{self.port})"


@final
class BackendTable:
    """Interchangeable endpoints, as metrics name them."""

    __slots__ = ("endpoints", "name", "protocol", "service", "version")

    def __init__(
        self,
        name: str,
        service: str,
        version: str,
        endpoints: list[EndpointRef],
        protocol: Protocol = Protocol.DETECT,
    ) -> None:
        self.name: str = name
        self.service: str = service
        """`namespace/service` in metrics."""
        self.version: str = version
        self.endpoints: list[EndpointRef] = endpoints
        self.protocol: Protocol = protocol
        """What the endpoints speak; DETECT: whatever the caller speaks."""

    def __repr__(self) -> str:
        return f"BackendTable({self.name})"


@final
class RouteTable:
    """A route that matched, or the opaque traffic of a port: its name and its weighted backends."""

    __slots__ = ("backends", "bounds", "name", "total")

    def __init__(self, name: str, shares: Sequence[tuple[BackendTable, int]]) -> None:
        self.name: str = name
        self.backends: list[BackendTable] = []
        """Those with a weight, in the order given."""
        self.bounds: list[int] = []
        """Running sums of the weights: `backends[i]` has the rolls below `bounds[i]`."""
        self.total: int = 0
        for backend, weight in shares:
            if weight > 0:
                self.total += weight
                self.backends.append(backend)
                self.bounds.append(self.total)

    def __repr__(self) -> str:
        return f"RouteTable({self.name})"
