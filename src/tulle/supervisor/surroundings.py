"""What the pods of a mesh have in common."""

from collections.abc import Callable
from typing import NamedTuple

from tulle.supervisor.addresses import Addresses
from tulle.supervisor.broker import Broker
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.loop import Loop
from tulle.supervisor.outfit import Outfits
from tulle.supervisor.stem import Stem
from tulle.supervisor.steps import Problem


class Surroundings(NamedTuple):
    """All that a pod needs to be made, to be reached and to be told of. Made once, by the supervisor."""

    loop: Loop
    stem: Stem
    broker: Broker
    proxy: ProxyLink
    addresses: Addresses
    outfits: Outfits
    way: str
    """How pods reach the mesh: one of `tulle.wire.plan.WAYS`."""
    problem: Problem | None
    """What keeps this box from making pods, when that is known."""
    say: Callable[[str], None]
    """One line in the supervisor's log."""
    report: Callable[[], None]
    """The agent is to be told how pods are."""
