"""A small interpreter of BPF: what the filter says of a call, without a kernel."""

import struct

from tulle.kit import seccomp

ALLOWED = 0
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def judge(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """The errno that a call gets, 0 when it is allowed."""
    program = list(struct.iter_unpack("=HBBI", seccomp.assemble(machine)))
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number, AUDIT[machine] if audit is None else audit, 0, *padded)
    word = at = 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x20:
            word = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return ALLOWED if value == 0x7FFF0000 else int(value & 0xFFFF)
        else:
            holds = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[code]
            at += if_true if holds else if_false
