"""Virtual addresses of services, in the virtual network: stable, whatever comes and goes beside them."""

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network

from tulle.wire.plan import VIRTUAL_NETWORK

NETWORK = IPv4Network(VIRTUAL_NETWORK)

_FIRST = int(NETWORK.network_address) + 1
_COUNT = NETWORK.num_addresses - 2


def addresses(names: Iterable[str], had: Mapping[str, str]) -> dict[str, str]:
    """An address for each name: the one it had, else one by the hash of its name, else the next that is free."""
    ordered = sorted(set(names))
    if len(ordered) > _COUNT:
        raise ValueError(f"more than {_COUNT} services")
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in ordered:
        before = had.get(name)
        if before is not None and before not in taken and _is_ours(before):
            given[name] = before
            taken.add(before)
    for name in ordered:
        if name not in given:
            given[name] = _free(name, taken)
            taken.add(given[name])
    return given


def _free(name: str, taken: set[str]) -> str:
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % _COUNT
    probes = (str(IPv4Address(_FIRST + (start + step) % _COUNT)) for step in range(_COUNT))
    return next(one for one in probes if one not in taken)


def _is_ours(text: str) -> bool:
    try:
        return 0 <= int(IPv4Address(text)) - _FIRST < _COUNT
    except ValueError:
        return False
