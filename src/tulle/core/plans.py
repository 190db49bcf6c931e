"""What is left to judge of a caller's requests, once it is known who calls which port."""

from typing import final

from tulle.core.operations import Index
from tulle.core.policies import FieldCheck
from tulle.core.verdict import Allow, Deny


@final
class Check:
    """An operation that a caller may match: what is left to look at in the request, and what follows."""

    __slots__ = ("fields", "folds", "place", "verdict")

    def __init__(self, fields: list[FieldCheck], verdict: Allow | Deny, place: int = 0) -> None:
        self.fields: list[FieldCheck] = fields
        """HTTP fields only; empty: matches every request."""
        self.folds: bool = any(field.folds for field in fields)
        """It looks at the folded reading of every path."""
        self.verdict: Allow | Deny = verdict
        self.place: int = place
        """Among those that are looked up."""


@final
class CallerPlan:
    """What is left to judge when caller and service port are known."""

    __slots__ = ("allowed", "allows", "constant", "denied", "denies", "opaque", "otherwise")

    def __init__(
        self,
        denies: list[Check],
        allows: list[Check],
        otherwise: Allow | Deny,
        constant: Allow | Deny | None,
        opaque: Allow | Deny,
        denied: list[Index],
        allowed: list[Index],
    ) -> None:
        self.denies: list[Check] = denies
        self.allows: list[Check] = allows
        self.otherwise: Allow | Deny = otherwise
        """When no check matches."""
        self.constant: Allow | Deny | None = constant
        """The verdict, when it is the same for every HTTP request."""
        self.opaque: Allow | Deny = opaque
        """The verdict on opaque TCP."""
        self.denied: list[Index] = denied
        """There are so many that they are looked up: here, and only the others are asked one by one."""
        self.allowed: list[Index] = allowed
