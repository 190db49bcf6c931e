"""Stands in for the agent: carries plans from the test to the supervisor, and statuses back, as they are."""

import argparse
import os
import select
import socket


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--mesh")
    arguments.add_argument("--manifest", action="append")
    arguments.add_argument("--control-fd", type=int)
    said = arguments.parse_args()
    control = socket.socket(fileno=said.control_fd)
    test = socket.socket(socket.AF_UNIX)
    test.connect(os.environ["TULLE_TEST_AGENT"])
    poll = select.poll()
    for one in (control, test):
        poll.register(one, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            source, target = (control, test) if descriptor == control.fileno() else (test, control)
            text = source.recv(1 << 16)
            if not text:
                return
            target.sendall(text)


if __name__ == "__main__":
    main()
