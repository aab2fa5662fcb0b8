"""The tables of the shop, one database per owner: nobody reads a table of somebody else.

The databases are made before the services start, as a migration would make them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Column, Engine, ForeignKey, Integer, MetaData, String, Table, create_engine

catalogue = MetaData()
products = Table(
    "products",
    catalogue,
    Column("sku", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("price_cents", Integer, nullable=False),
)

orders_database = MetaData()
orders = Table(
    "orders",
    orders_database,
    Column("number", Integer, primary_key=True),
    Column("customer", String, nullable=False),
    Column("status", String, nullable=False),
)
order_lines = Table(
    "order_lines",
    orders_database,
    Column("number", Integer, ForeignKey("orders.number"), primary_key=True),
    Column("sku", String, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("price_cents", Integer, nullable=False),
)

fulfilment = MetaData()
stock = Table(
    "stock",
    fulfilment,
    Column("sku", String, primary_key=True),
    Column("on_hand", Integer, nullable=False),
)
shipments = Table(
    "shipments",
    fulfilment,
    Column("number", Integer, primary_key=True),
    Column("order_number", Integer, nullable=False),
    Column("status", String, nullable=False),
)

ASSORTMENT = {
    "tea-assam": ("Assam, 250 g", 890),
    "tea-sencha": ("Sencha, 100 g", 1250),
    "pot-iron": ("Cast-iron pot", 5400),
}
INITIAL_STOCK = 1_000_000


def connect(database: str) -> Engine:
    """An engine on ``{database}.db`` in the current folder.

    The name is relative on purpose: it is what telemetry calls the database, and the place of the
    folder is no part of that name.
    """
    return create_engine(f"sqlite:///{database}.db", connect_args={"timeout": 10})


def migrate(folder: Path) -> None:
    """Make the three databases in ``folder`` and fill the assortment and the stock."""
    for database, metadata in (
        ("catalogue", catalogue),
        ("orders", orders_database),
        ("fulfilment", fulfilment),
    ):
        path = folder / f"{database}.db"
        with closing(sqlite3.connect(path)) as connection:
            # Readers and the writer don't wait for each other.
            connection.execute("PRAGMA journal_mode=WAL")
        engine = create_engine(f"sqlite:///{path}")
        metadata.create_all(engine)
        with engine.begin() as transaction:
            if database == "catalogue":
                transaction.execute(
                    products.insert(),
                    [
                        {"sku": sku, "title": title, "price_cents": price}
                        for sku, (title, price) in ASSORTMENT.items()
                    ],
                )
            if database == "fulfilment":
                transaction.execute(
                    stock.insert(), [{"sku": sku, "on_hand": INITIAL_STOCK} for sku in ASSORTMENT]
                )
        engine.dispose()
