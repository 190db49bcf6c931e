"""Names of things, parsed once."""

import re
from dataclasses import dataclass
from typing import Self

DEFAULT_NAMESPACE = "default"
"""Of what does not say one."""
ROOT_NAMESPACE = "tulle-system"
"""Policies here hold for the whole mesh."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?")


def is_label(text: str) -> bool:
    """A DNS label: what namespaces, services and workloads are called."""
    return _LABEL.fullmatch(text) is not None


def is_trust_domain(text: str) -> bool:
    """A SPIFFE trust domain: lower-case letters, digits, dots, dashes, underscores."""
    return _DOMAIN.fullmatch(text) is not None


def qualify(written: str, namespace: str = DEFAULT_NAMESPACE) -> str:
    """`name` within a namespace; what names one already, and `*`, as it is."""
    return str(written) if "/" in written or written == "*" else f"{namespace}/{written}"


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """Who a workload is, wherever it runs."""

    trust_domain: str
    path: str
    """Begins with a slash: `/ns/<namespace>/sa/<service account>`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for what is not `spiffe://<trust domain>/<path>`."""
        scheme, _, rest = text.partition("://")
        domain, slash, path = rest.partition("/")
        segments = path.split("/")
        if scheme != "spiffe" or not slash or not is_trust_domain(domain):
            raise ValueError(f"not a SPIFFE ID: {text!r}")
        if any(not re.fullmatch(r"[A-Za-z0-9._-]+", one) or one in {".", ".."} for one in segments):
            raise ValueError(f"not a SPIFFE ID: {text!r}")
        return cls(domain, "/" + path)

    @classmethod
    def of(cls, trust_domain: str, namespace: str, service_account: str) -> Self:
        """The identity of a service account."""
        return cls(trust_domain, f"/ns/{namespace}/sa/{service_account}")

    @property
    def principal(self) -> str:
        """As policies write it: without `spiffe://`."""
        return self.trust_domain + self.path

    def __str__(self) -> str:
        return f"spiffe://{self.principal}"


@dataclass(frozen=True, slots=True, order=True)
class QualifiedName:
    """A name within a namespace, written `namespace/name`."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str, namespace: str = "") -> Self:
        """`namespace/name`, or `name` within `namespace`. Raises ValueError."""
        first, slash, second = text.partition("/")
        made = cls(str(first), str(second)) if slash else cls(namespace, str(text))
        if not is_label(made.namespace) or not is_label(made.name):
            raise ValueError(f"not a name: {text!r}")
        return made

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ServiceName(QualifiedName):
    """What is called."""

    __slots__ = ()


class WorkloadName(QualifiedName):
    """What runs, once."""

    __slots__ = ()
