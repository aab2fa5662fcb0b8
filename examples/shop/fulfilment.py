"""Fulfilment: takes orders from the queue, keeps ``shipments`` and ``stock``, tells orders."""

from __future__ import annotations

import os
import sys
from typing import Any

import requests
from celery.signals import worker_ready

from shop.schema import connect, shipments, stock
from shop.serving import announce
from shop.tasks import QUEUE, SHIP, queue_app

engine = connect("fulfilment")
queue = queue_app()


@queue.task(name=SHIP)  # type: ignore[untyped-decorator]
def ship(order_number: int, lines: dict[str, int]) -> None:
    """Ship one order: record the shipment, take the goods from stock, set the order's status."""
    with engine.begin() as transaction:
        transaction.execute(
            shipments.insert().values(order_number=order_number, status="dispatched")
        )
        for sku, quantity in lines.items():
            transaction.execute(
                stock.update().where(stock.c.sku == sku).values(on_hand=stock.c.on_hand - quantity)
            )
    requests.put(
        f"{os.environ['ORDERS_URL']}/orders/{order_number}/status",
        json={"status": "dispatched"},
        timeout=10,
    ).raise_for_status()


@worker_ready.connect  # type: ignore[untyped-decorator]
def tell(**_: Any) -> None:
    """The worker consumes from now on."""
    announce("fulfilment", QUEUE)


if __name__ == "__main__":
    # One process, one task at a time, and no chatter between workers: there is one worker.
    queue.worker_main(
        [
            "worker",
            "--pool=solo",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--queues",
            QUEUE,
        ]
    )
    sys.exit(0)
