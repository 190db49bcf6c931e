"""What every resource is: a name, a place, a kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tulle.model.fields import Label, Text
from tulle.model.names import DEFAULT_NAMESPACE
from tulle.model.place import NOWHERE, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a resource is called."""

    name: Label
    """Unique within kind and namespace."""
    namespace: Label = DEFAULT_NAMESPACE
    """Where it belongs; policies in `tulle-system` hold for the whole mesh."""
    labels: Mapping[str, Text] = field(default_factory=dict, compare=False)
    """For people and tools; selectors read a Workload's `spec.labels`."""
    annotations: Mapping[str, Text] = field(default_factory=dict, compare=False)
    """For people and tools; nothing here changes what the mesh does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What all kinds share."""

    versions: ClassVar[tuple[str, ...]]
    """Accepted as `apiVersion`; the first is written."""
    metadata: Metadata
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def qualified(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
