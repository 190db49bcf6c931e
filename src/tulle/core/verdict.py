"""What a judgement says: `Allow` or `Deny`, each naming the policy that decided."""

from typing import final

from tulle.wire.reason import Reason


@final
class Allow:
    """The call may pass."""

    __slots__ = ("by",)

    def __init__(self, by: str | None) -> None:
        self.by: str | None = by
        """The policy that allowed; None when no ALLOW policy selects the service."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Allow) and self.by == other.by

    def __hash__(self) -> int:
        return hash(self.by)

    def __repr__(self) -> str:
        return f"Allow(by={self.by!r})"


@final
class Deny:
    """The call is refused."""

    __slots__ = ("by", "reason")

    def __init__(self, by: str | None, reason: Reason) -> None:
        self.by: str | None = by
        """The policy that denied; None when nothing allowed, or when `calls` does not name the service."""
        self.reason: Reason = reason

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deny) and self.by == other.by and self.reason is other.reason

    def __hash__(self) -> int:
        return hash((self.by, self.reason.code))

    def __repr__(self) -> str:
        return f"Deny(by={self.by!r}, reason={self.reason.name})"
