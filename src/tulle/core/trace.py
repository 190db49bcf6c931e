"""How a verdict came about, for `tulle why`: every policy, every rule, and the field at which it failed."""

from typing import NamedTuple

from tulle.core.verdict import Allow, Deny


class FailedField(NamedTuple):
    """A field that kept a rule from matching."""

    label: str
    """As the policy's author wrote it: `notPaths`."""
    patterns: tuple[str, ...]
    value: str
    """What the call had there; empty: nothing, as an anonymous caller or opaque TCP."""

    def __str__(self) -> str:
        return f"{self.label} {', '.join(self.patterns)}: is {self.value or 'nothing'}"


class RuleTrace(NamedTuple):
    """A rule, by the pair of its sources and operations that came closest."""

    policy: str
    number: int
    """From 0, as written."""
    failed: tuple[FailedField, ...]
    """Empty: matched."""

    @property
    def matched(self) -> bool:
        """Whether the rule matched."""
        return not self.failed


class PolicyTrace(NamedTuple):
    """A policy that selects the service."""

    name: str
    action: str
    """`DENY` or `ALLOW`."""
    rules: tuple[RuleTrace, ...]


class Explanation(NamedTuple):
    """A verdict and its whole story."""

    verdict: Allow | Deny
    calls_hold: bool
    """Whether the caller's `calls` name the service, or are not given."""
    policies: tuple[PolicyTrace, ...]
    """DENY first, then ALLOW, each by name: the order of judgement."""
    nearest: RuleTrace | None
    """For a call that nothing allowed: the ALLOW rule with the fewest fields in the way."""
