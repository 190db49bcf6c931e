"""Orders, in the version that its command line says; asks payments. PORT and PAYMENTS (host or host:port) may differ."""

import os
import sys
from http.client import HTTPException

from shop.plain import Answer, fetch, serve

VERSION = sys.argv[1] if len(sys.argv) > 1 else "v1"
PAYMENTS = os.environ.get("PAYMENTS", "payments.prod")


def order(path: str) -> Answer:
    """An order, and whether it is paid."""
    try:
        status, payment = fetch(PAYMENTS, "/payments/42")
    except (OSError, HTTPException) as error:
        return 502, {"version": VERSION, "error": str(error)}
    return status, {"version": VERSION, "order": path.rpartition("/")[2], "payment": payment}


if __name__ == "__main__":
    serve(int(os.environ.get("PORT", "9000")), order)
