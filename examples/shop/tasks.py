"""The queue between orders and fulfilment: Celery over a folder, so no broker has to be installed.

It is a real queue between real processes; another broker is another ``broker_url``.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from time import monotonic
from typing import Any

from celery import Celery
from kombu.transport import filesystem

QUEUE = "orders-to-ship"
SHIP = "shop.ship"


class Channel(filesystem.Channel):
    """A folder of messages that appear whole.

    Kombu's own channel opens a message's file under its last name and writes it then; a consumer
    that lists the folder in between takes an empty message and ends.
    """

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]
        folder = Path(self.data_folder_out)
        # Consumers take the files that are named as here, in the order of their names.
        file = folder / f"{round(monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(payload), encoding="utf-8")
        os.replace(partial, file)


class Transport(filesystem.Transport):
    Channel = Channel


def queue_app() -> Celery:
    """The Celery application, on the folder ``queue`` in the current folder."""
    folder = Path("queue")
    for part in ("messages", "control"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    app = Celery("shop")
    app.conf.update(
        broker_transport="shop.tasks:Transport",
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
