"""Payments: what development shall never reach. PORT may say otherwise."""

import os

from shop.plain import Answer, serve


def payment(path: str) -> Answer:
    """Whether it is paid."""
    return 200, {"payment": path.rpartition("/")[2], "paid": True}


if __name__ == "__main__":
    serve(int(os.environ.get("PORT", "7000")), payment)
