"""The shop's front: every page asks orders. PORT and ORDERS (host or host:port) may say otherwise."""

import os
from http.client import HTTPException

from shop.plain import Answer, fetch, serve

ORDERS = os.environ.get("ORDERS", "orders")

ORDERS = os.environ.get("ORDERS", "orders")


def page(path: str) -> Answer:
    """The page, and which version of orders was behind it."""
    try:
        status, order = fetch(ORDERS, "/orders/42")
    except (OSError, HTTPException) as error:
        return 502, {"page": path, "error": str(error)}
    return status, {"page": path, "version": order.get("version", "none"), "order": order}


if __name__ == "__main__":
    serve(int(os.environ.get("PORT", "8080")), page)
