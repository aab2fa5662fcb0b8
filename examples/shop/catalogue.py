"""The catalogue: what is for sale, read from ``products``."""

from __future__ import annotations

from flask import Flask, abort, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from shop.schema import connect, products
from shop.serving import serve

app = Flask(__name__)
engine = connect("catalogue")


@app.get("/products")
def list_products() -> ResponseReturnValue:
    """Every product."""
    with engine.connect() as connection:
        return jsonify(
            [
                dict(row)
                for row in connection.execute(select(products).order_by(products.c.sku)).mappings()
            ]
        )


@app.get("/products/<sku>")
def one_product(sku: str) -> ResponseReturnValue:
    """One product, or 404."""
    with engine.connect() as connection:
        row = connection.execute(select(products).where(products.c.sku == sku)).mappings().first()
    if row is None:
        abort(404)
    return jsonify(dict(row))


if __name__ == "__main__":
    serve(app, "catalogue")
