"""Which backend, which endpoint. Randomness is a parameter: `roll` is uniform in [0, 2**32)."""

from tulle.core.backends import BackendTable, EndpointRef, RouteTable


def pick_backend(route: RouteTable, roll: int) -> BackendTable | None:
    """The backend whose share of the weights the roll falls into; None: answer `no-backend`."""
    if route.total == 0:
        return None
    if len(route.backends) == 1:
        return route.backends[0]
    point = roll % route.total
    bounds = route.bounds
    low = 0
    high = len(bounds) - 1
    while low < high:
        middle = (low + high) // 2
        if point < bounds[middle]:
            high = middle
        else:
            low = middle + 1
    return route.backends[low]


def pick_endpoint(backend: BackendTable, roll: int, tried: list[EndpointRef] | None = None) -> EndpointRef | None:
    """The less loaded of two ready endpoints drawn by the roll, none of them tried before.

    None: answer `no-healthy-endpoint`, or `connect-failed` when some were tried.
    """
    endpoints = backend.endpoints
    if len(endpoints) == 1:
        only = endpoints[0]
        return only if only.ready and (not tried or only not in tried) else None
    eligible = [one for one in endpoints if one.ready and (not tried or one not in tried)]
    count = len(eligible)
    if count < 2:
        return eligible[0] if count == 1 else None
    first = roll % count
    second = (roll // count) % (count - 1)
    if second >= first:
        second += 1
    drawn = eligible[first]
    other = eligible[second]
    return other if other.in_flight < drawn.in_flight else drawn
