"""A service on its way from one file to the other."""

from dataclasses import dataclass, field

from tulle.manifest.compose.health import Health
from tulle.manifest.compose.ports import Published
from tulle.manifest.tree import Fields, Node, Scalar


@dataclass(slots=True)
class Dependency:
    """One service that another needs."""

    called: str
    """As the compose file names it."""
    node: Scalar
    """Its name, where it was written."""
    where: str
    said: Node | None = None
    """What is said of it beside its name: `condition`, `required`, `restart`."""


@dataclass(slots=True)
class Draft:
    """What is known of one service."""

    key: Scalar
    """What the compose file calls it."""
    where: str
    tree: Fields
    label: str = ""
    image: str = ""
    image_remark: str = ""
    is_built: bool = False
    """Compose builds it, and fetches it from nowhere."""
    command: list[str] | str | None = None
    env: dict[str, str] = field(default_factory=dict)
    mounts: list[str] = field(default_factory=list)
    user: str = ""
    pull: str = ""
    memory: str = ""
    memory_remark: str = ""
    """As it was written."""
    cpus: str = ""
    stop_seconds: int | float | None = None
    stop_remark: str = ""
    health: Health | None = None
    published: list[Published] = field(default_factory=list)
    """`ports`, in their order."""
    exposed: list[Published] = field(default_factory=list)
    needs: list[Dependency] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What a mesh does anyway, to be said in a comment."""
    port: int | None = None
    port_remark: str = ""
    protocol: str = ""
    protocol_remark: str = ""
    expose: int | None = None
    closed: str = ""
    """A door that Compose opened for part of the outside only, and that is left shut."""
    callers: list[str] = field(default_factory=list)
    """Labels of those that may be its callers."""
    depends_on: list[str] = field(default_factory=list)
    """Labels."""
