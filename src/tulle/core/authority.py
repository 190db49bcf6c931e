"""Which service port an authority names: the names that a pod finds in its /etc/hosts, and virtual addresses."""

from typing import Final

from tulle.core.policies import CallerRef
from tulle.core.tables import ServicePortTable, Tables

DEFAULT_NAMESPACE: Final = "default"
"""Of an anonymous caller, for names that say none."""
DOMAINS: Final = ("svc", "svc.cluster.local")
"""What may follow `service.namespace`, as on a cluster."""


def named_port(tables: Tables, caller: CallerRef, host: str, port: int) -> ServicePortTable | None:
    """The service port that this caller means; None: nothing is declared there. Nothing is ever looked up elsewhere.

    `host` is canonical: lower case, without port and final dot. A bare name is one of the caller's own namespace.
    """
    found = tables.by_address.get((host, port))
    if found is not None:
        return found
    name, _, rest = host.partition(".")
    namespace, dotted, domain = rest.partition(".")
    if dotted and domain not in DOMAINS:
        return None
    return tables.by_name.get((f"{namespace or caller.namespace or DEFAULT_NAMESPACE}/{name}", port))
