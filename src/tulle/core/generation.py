"""What the proxy holds of one generation: service ports by address and name, and each part by the octets it came from."""

from collections.abc import Generator
from typing import final

from tulle.core.authz import AuthzTable, PolicyStore
from tulle.core.backends import BackendTable, EndpointRef, RouteTable
from tulle.core.plans import CallerPlan
from tulle.core.policies import CallerRef
from tulle.core.route_index import RouteIndex
from tulle.wire.outline import Outline, Section
from tulle.wire.snapshot import AccessLog, Limits, Mode, Protocol, Tracing


@final
class ServicePortTable:
    """A port of a service: how it is routed and who may call it."""

    __slots__ = ("address", "authz", "opaque", "plans", "port", "protocol", "routes", "service", "target_port")

    def __init__(
        self,
        service: str,
        address: str,
        port: int,
        target_port: int,
        protocol: Protocol,
        routes: RouteIndex,
        opaque: RouteTable,
        authz: AuthzTable,
    ) -> None:
        self.service: str = service
        """`namespace/service`."""
        self.address: str = address
        self.port: int = port
        self.target_port: int = target_port
        self.protocol: Protocol = protocol
        self.routes: RouteIndex = routes
        """For `match_route`."""
        self.opaque: RouteTable = opaque
        """Where opaque TCP goes; named like the service."""
        self.authz: AuthzTable = authz
        self.plans: dict[CallerRef, CallerPlan] = {}
        """`judge` fills it, within a bound."""

    def under(self, authz: AuthzTable) -> "ServicePortTable":
        """The same with other policies; nothing is remembered of callers."""
        return ServicePortTable(
            self.service, self.address, self.port, self.target_port, self.protocol, self.routes, self.opaque, authz
        )

    def __repr__(self) -> str:
        return f"ServicePortTable({self.service}:{self.port})"


@final
class ServiceTable:
    """The routes of a service, and what it takes for them to hold in another generation."""

    __slots__ = ("backends", "ports")

    def __init__(self, ports: list[ServicePortTable], backends: list[BackendTable]) -> None:
        self.ports: list[ServicePortTable] = ports
        self.backends: list[BackendTable] = backends
        """All that its routes name."""

    def holds(self, backends: dict[str, BackendTable]) -> bool:
        """Whether every backend is what it was laid out with."""
        for backend in self.backends:  # noqa: SIM110  (a generator costs more than the look-up)
            if backends.get(backend.name) is not backend:
                return False
        return True


@final
class Parts:
    """The long lists of the document, and what was laid out of them part by part: the next generation takes over what did not change."""

    __slots__ = ("backends", "callers", "made_backends", "made_callers", "made_services", "policies", "services")

    def __init__(self) -> None:
        self.callers: Section = Section()
        self.made_callers: list[CallerRef] = []
        self.backends: Section = Section()
        self.made_backends: list[BackendTable] = []
        self.services: Section = Section()
        self.made_services: list[ServiceTable] = []
        self.policies: PolicyStore = PolicyStore(Section())

    def fill(self, outline: Outline) -> Generator[None, None, None]:
        """Takes the octets of the four lists."""
        yield from self.callers.fill(outline.callers)
        yield from self.backends.fill(outline.backends)
        yield from self.services.fill(outline.services)
        yield from self.policies.section.fill(outline.policies)


@final
class Tables:
    """One generation. Replaced whole; requests in flight keep the one they began with."""

    __slots__ = (
        "access_log",
        "backends",
        "by_address",
        "by_name",
        "callers",
        "doors",
        "endpoints",
        "generation",
        "limits",
        "mode",
        "outline",
        "parts",
        "pods",
        "shadow",
        "tracing",
    )

    def __init__(self, outline: Outline, parts: Parts) -> None:
        self.outline: Outline = outline
        """What the document says beside its parts, which are left out."""
        self.generation: int = outline.generation
        self.mode: Mode = outline.mode
        self.shadow: bool = self.mode is Mode.SHADOW
        """Denials are counted, not enforced."""
        self.limits: Limits = outline.limits
        """A document, like the next two: read what is needed once per generation."""
        self.access_log: AccessLog = outline.access_log
        self.tracing: Tracing = outline.tracing
        self.by_address: dict[tuple[str, int], ServicePortTable] = {}
        """By virtual address and port, as SO_ORIGINAL_DST gives them."""
        self.by_name: dict[tuple[str, int], ServicePortTable] = {}
        """By `namespace/service` and port."""
        self.doors: dict[int, ServicePortTable] = {}
        """By port of the host."""
        self.callers: dict[str, CallerRef] = {}
        """By pod; whoever is not here is ANONYMOUS."""
        self.backends: dict[str, BackendTable] = {}
        self.endpoints: dict[tuple[str, str, str, int], EndpointRef] = {}
        """By workload, pod, host and port."""
        self.pods: dict[str, list[EndpointRef]] = {}
        """The endpoints inside a pod, to mark ready or unready together."""
        self.parts: Parts = parts
