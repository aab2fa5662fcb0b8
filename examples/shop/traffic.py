"""Customers: they look, buy and ask where their order is. Not a service, hence not instrumented."""

from __future__ import annotations

import time
from itertools import cycle, islice

import requests

BASKETS = (
    {"tea-assam": 2},
    {"tea-sencha": 1, "pot-iron": 1},
    {"tea-assam": 1, "tea-sencha": 3},
)


class TrafficError(Exception):
    """The shop did not serve a customer."""


def drive(storefront: str, orders: int, *, patience_seconds: float = 30.0) -> int:
    """Place ``orders`` orders one after the other and follow each until it is dispatched.

    Returns how many requests were sent. Raises :class:`TrafficError` when the shop refuses one or
    doesn't answer, or when an order isn't dispatched within ``patience_seconds``.
    """
    try:
        return _drive(storefront, orders, patience_seconds)
    except requests.RequestException as error:
        raise TrafficError(f"a customer got no answer ({error}): see what the shop said") from error


def _drive(storefront: str, orders: int, patience_seconds: float) -> int:
    sent = 0
    with requests.Session() as session:
        # The shop is on this machine: no proxy stands between.
        session.trust_env = False
        for customer, basket in enumerate(islice(cycle(BASKETS), orders)):
            sent += 2
            session.get(storefront, timeout=10).raise_for_status()
            answer = session.post(
                f"{storefront}/checkout",
                json={"customer": f"customer-{customer}", "lines": basket},
                timeout=20,
            )
            if answer.status_code != 201:
                raise TrafficError(f"checkout answered {answer.status_code}: {answer.text}")
            number = answer.json()["number"]
            deadline = time.monotonic() + patience_seconds
            while True:
                sent += 1
                tracked = session.get(f"{storefront}/track/{number}", timeout=10)
                tracked.raise_for_status()
                if tracked.json()["status"] == "dispatched":
                    break
                if time.monotonic() > deadline:
                    raise TrafficError(
                        f"order {number} wasn't dispatched within {patience_seconds:.0f} s: "
                        "see fulfilment.log in the shop's folder"
                    )
                time.sleep(0.1)
    return sent
