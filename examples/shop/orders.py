"""Orders: priced by the catalogue, kept in ``orders`` and ``order_lines``, shipped by a task."""

from __future__ import annotations

import os
from typing import Any

import requests
from flask import Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from shop.product import Product
from shop.schema import connect, order_lines, orders
from shop.serving import serve
from shop.tasks import SHIP, queue_app

app = Flask(__name__)
engine = connect("orders")
queue = queue_app()
product = Product()


@app.post("/orders")
def place() -> ResponseReturnValue:
    """Place ``{"customer": str, "lines": {sku: quantity}}``; answers 201 ``{"number": int}``."""
    body: dict[str, Any] = request.get_json()
    lines: dict[str, int] = body["lines"]
    prices: dict[str, int] = {}
    for sku in lines:
        answer = requests.get(f"{os.environ['CATALOGUE_URL']}/products/{sku}", timeout=10)
        if answer.status_code == 404:
            abort(400, f"no such product: {sku}")
        answer.raise_for_status()
        prices[sku] = answer.json()["price_cents"]
    try:
        rebate = tea_rebate(lines)
    except ZeroDivisionError as error:
        # Nobody is turned away for want of a rebate.
        product.failed("tea rebate", error)
        rebate = 0
    with engine.begin() as transaction:
        inserted = transaction.execute(
            orders.insert().values(customer=body["customer"], status="placed")
        ).inserted_primary_key
        assert inserted is not None  # the table has an integer primary key
        number: int = inserted[0]
        transaction.execute(
            order_lines.insert(),
            [
                {
                    "number": number,
                    "sku": sku,
                    "quantity": quantity,
                    "price_cents": max(0, prices[sku] - rebate),
                }
                for sku, quantity in lines.items()
            ],
        )
    queue.send_task(SHIP, kwargs={"order_number": number, "lines": lines})
    return jsonify({"number": number}), 201


def tea_rebate(lines: dict[str, int]) -> int:
    """Cents off each line, for tea that goes with a pot.

    Somebody forgot those who buy no pot: the mistake is here to be found.
    """
    packets = sum(quantity for sku, quantity in lines.items() if sku.startswith("tea-"))
    pots = sum(quantity for sku, quantity in lines.items() if sku.startswith("pot-"))
    return 50 * (packets // pots)


@app.get("/orders/<int:number>")
def one_order(number: int) -> ResponseReturnValue:
    """An order with its lines, or 404."""
    query = (
        select(orders.c.status, order_lines.c.sku, order_lines.c.quantity)
        .join(order_lines, order_lines.c.number == orders.c.number)
        .where(orders.c.number == number)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    if not rows:
        abort(404)
    return jsonify(
        {
            "number": number,
            "status": rows[0].status,
            "lines": {row.sku: row.quantity for row in rows},
        }
    )


@app.put("/orders/<int:number>/status")
def set_status(number: int) -> ResponseReturnValue:
    """Change the status of an order: ``{"status": str}`` -> 204."""
    with engine.begin() as transaction:
        changed = transaction.execute(
            orders.update()
            .where(orders.c.number == number)
            .values(status=str(request.get_json()["status"]))
        )
    if not changed.rowcount:
        abort(404)
    return "", 204


if __name__ == "__main__":
    serve(app, "orders")
