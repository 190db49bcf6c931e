import os
import socket

import pytest

from tulle.supervisor import words


def test_what_a_pod_says_is_known_words_and_printable_text() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        words.send(theirs, words.EXIT, "exit 1\x1b[2J\n")
        assert words.receive(ours) == (["exit", "exit 1?[2J?"], [])

        words.send(theirs, "obey")
        with pytest.raises(ValueError, match="obey"):
            words.receive(ours)

        theirs.close()
        assert words.receive(ours) is None


def test_what_comes_with_an_unknown_word_is_let_go() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    with ours, theirs, os.fdopen(reader, "rb") as end:
        words.send(theirs, "obey", descriptors=(writer,))
        os.close(writer)
        with pytest.raises(ValueError, match="obey"):
            words.receive(ours)

        os.set_blocking(reader, False)
        assert end.read() == b"", "somebody still holds the other end"


def test_saying_something_to_nobody_is_no_error() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        words.send(theirs, words.READY)
