"""Users of this box by name."""

import pwd

OVERFLOW_UID = 65534
"""How a user namespace shows a uid that it has no name for."""


def user_name(uid: int) -> str:
    """What the box calls a user; empty where it has no name for the uid."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
