"""`calls`: which services a caller may call at all."""

from tulle.core.policies import CallerRef


def may_call(caller: CallerRef, service: str) -> bool:
    """Whether the caller's `calls` (`ns/name`, `ns/*`, `*`) name the service, or are not given."""
    return caller.calls is None or caller.calls.matches(service)
