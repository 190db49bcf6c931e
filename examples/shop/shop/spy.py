"""A curious program from development: tries payments twice a second."""

import time

from shop.plain import fetch


def main() -> None:
    """Tries until it is stopped."""
    while True:
        try:
            status, document = fetch("payments.prod", "/payments/42")
            print(f"payments answered {status} {document}", flush=True)
        except OSError as error:
            print(f"payments did not answer: {error}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
