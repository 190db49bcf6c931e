"""What is left to judge of a caller's requests, once it is known who calls which port."""

from typing import final

from tulle.core.operations import Entry, Index
from tulle.core.verdict import Allow, Deny


@final
class CallerPlan:
    """What is left to judge when caller and service port are known. Entries concern them: only HTTP fields are looked at."""

    __slots__ = ("allowed", "allows", "constant", "denied", "denies", "opaque", "otherwise")

    def __init__(
        self,
        denies: list[Entry],
        allows: list[Entry],
        otherwise: Allow | Deny,
        constant: Allow | Deny | None,
        opaque: Allow | Deny,
        denied: list[Index],
        allowed: list[Index],
    ) -> None:
        self.denies: list[Entry] = denies
        """Asked one by one, in order."""
        self.allows: list[Entry] = allows
        self.otherwise: Allow | Deny = otherwise
        """When none matches."""
        self.constant: Allow | Deny | None = constant
        """The verdict, when it is the same for every HTTP request."""
        self.opaque: Allow | Deny = opaque
        """The verdict on opaque TCP."""
        self.denied: list[Index] = denied
        """There are so many that they are looked up: here, and only the others are asked one by one."""
        self.allowed: list[Index] = allowed
