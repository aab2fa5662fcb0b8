"""The storefront: the only process that customers reach. It owns no data."""

from __future__ import annotations

import os

import requests
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from shop.product import Product
from shop.serving import serve

app = Flask(__name__)
product = Product()


def relay(answer: requests.Response) -> ResponseReturnValue:
    """Hand a JSON answer of another service on to the customer."""
    return answer.content, answer.status_code, {"Content-Type": "application/json"}


@app.get("/")
def home() -> ResponseReturnValue:
    """What is for sale."""
    product.used("assortment", "assortment viewed", "somebody", "/")
    return relay(requests.get(f"{os.environ['CATALOGUE_URL']}/products", timeout=10))


@app.post("/checkout")
def checkout() -> ResponseReturnValue:
    """Buy: ``{"customer": str, "lines": {sku: quantity}}`` -> 201 ``{"number": int}``."""
    body = request.get_json()
    if not body.get("lines"):
        return jsonify({"error": "the basket is empty: add at least one line"}), 400
    product.used("checkout", "order placed", body["customer"], "/checkout")
    return relay(requests.post(f"{os.environ['ORDERS_URL']}/orders", json=body, timeout=20))


@app.get("/track/<int:number>")
def track(number: int) -> ResponseReturnValue:
    """Where an order is."""
    product.used("order tracking", "order tracked", "somebody", f"/track/{number}")
    return relay(requests.get(f"{os.environ['ORDERS_URL']}/orders/{number}", timeout=10))


if __name__ == "__main__":
    serve(app, "storefront")
