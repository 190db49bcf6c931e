"""The system calls of a container: podman's own allow-list, and on top of it what no pod of Tulle's may do.

One profile, since a container has one: what `tulle.kit.seccomp` denies to every service is taken out of the list, and
sockets and clones are allowed by their arguments alone.
"""

import json
from collections.abc import Iterable
from typing import Any

from tulle.kit import seccomp

_ALLOW, _REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_EPERM, _ENOSYS, _EAFNOSUPPORT, _EPROTONOSUPPORT = 1, 38, 97, 93
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_JUDGED = ("clone", "clone3", "unshare", "socket", "socketcall")

Rule = dict[str, Any]


def tightened(profile: str, machine: str) -> str:
    """A profile of podman's, in JSON, without what a pod may not do. Raises ValueError, and OSError for an unknown machine."""
    whole = json.loads(profile)
    denied = seccomp.denied_calls(machine)
    taken = {*denied, *_JUDGED}
    rules: list[Rule] = []
    for rule in whole["syscalls"]:
        names = [name for name in rule["names"] if name not in taken]
        if names:
            rules.append({**rule, "names": names})
    rules += [_refuse(sorted(denied), _EPERM), _refuse(["clone3"], _ENOSYS), *_namespaces(), *_sockets()]
    # 32-bit programs would come by other doors, which no rule here looks at.
    natives = [{**one, "subArchitectures": []} for one in whole.get("archMap", [])]
    return json.dumps({**whole, "archMap": natives, "syscalls": rules})


def _namespaces() -> list[Rule]:
    rules: list[Rule] = []
    for name, flags in (("clone", seccomp.NAMESPACES), ("unshare", seccomp.NAMESPACES | seccomp.NEWTIME)):
        bits = [1 << bit for bit in range(32) if flags >> bit & 1]
        rules.append(_allow(name, _masked(0, flags, 0)))
        rules += [_refuse([name], _EPERM, _masked(0, bit, bit)) for bit in bits]
    return rules


def _sockets() -> list[Rule]:
    """Each family and protocol by itself: a rule may look at an argument once."""
    rules = [_allow("socket", _equals(0, _UNIX))]
    for family in (_INET, _INET6):
        rules += [_allow("socket", _equals(0, family), _equals(2, one)) for one in seccomp.PROTOCOLS]
        rules += _refused_from(2, seccomp.PROTOCOLS, _EPROTONOSUPPORT, _equals(0, family))
    rules.append(_allow("socket", _equals(0, _NETLINK), _equals(2, 0)))
    rules += _refused_from(2, (0,), _EPROTONOSUPPORT, _equals(0, _NETLINK))
    return rules + _refused_from(0, (_UNIX, _INET, _INET6, _NETLINK), _EAFNOSUPPORT)


def _refused_from(argument: int, allowed: Iterable[int], number: int, *conditions: Rule) -> list[Rule]:
    """Every other value of an argument."""
    most = max(allowed := set(allowed))
    others = [_equals(argument, one) for one in range(most) if one not in allowed]
    beyond = {"index": argument, "value": most, "op": "SCMP_CMP_GT"}
    return [_refuse(["socket"], number, *conditions, one) for one in (*others, beyond)]


def _allow(name: str, *conditions: Rule) -> Rule:
    return {"names": [name], "action": _ALLOW, "args": list(conditions)}


def _refuse(names: list[str], number: int, *conditions: Rule) -> Rule:
    return {"names": names, "action": _REFUSE, "errnoRet": number, "args": list(conditions)}


def _equals(argument: int, value: int) -> Rule:
    return {"index": argument, "value": value, "op": "SCMP_CMP_EQ"}


def _masked(argument: int, mask: int, value: int) -> Rule:
    return {"index": argument, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
