"""The queue between orders and fulfilment: Celery over a folder, so no broker has to be installed.

It is a real queue between real processes; another broker is another ``broker_url``.
"""

from __future__ import annotations

from pathlib import Path

from celery import Celery

QUEUE = "orders-to-ship"
SHIP = "shop.ship"


def queue_app() -> Celery:
    """The Celery application, on the folder ``queue`` in the current folder."""
    folder = Path("queue")
    for part in ("messages", "control"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    app = Celery("shop", broker="filesystem://")
    app.conf.update(
        broker_transport_options={
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.1,
        },
        broker_connection_retry_on_startup=True,
        task_default_queue=QUEUE,
        task_ignore_result=True,
        worker_hijack_root_logger=False,
    )
    return app
