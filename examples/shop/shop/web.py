"""The shop's front: every page asks orders."""

from http.client import HTTPException

from shop.plain import Answer, fetch, serve


def page(path: str) -> Answer:
    """The page, and which version of orders was behind it."""
    try:
        status, order = fetch("orders", "/orders/42")
    except (OSError, HTTPException) as error:
        return 502, {"page": path, "error": str(error)}
    return status, {"page": path, "version": order.get("version", "none"), "order": order}


if __name__ == "__main__":
    serve(8080, page)
