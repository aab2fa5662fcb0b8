"""Pushes once, with its state in a file: ``python pushing.py SOURCE TOKEN TARGET STATE``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stewards.datahub_push import Source, Target, push


def kept_in(path: Path) -> tuple[Callable[[], Any], Callable[[Mapping[str, Any]], None]]:
    """``load`` and ``save`` of a push, where a file holds its state."""

    def load() -> Any:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def save(document: Mapping[str, Any]) -> None:
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(document), encoding="utf-8")
        os.replace(beside, path)

    return load, save


if __name__ == "__main__":
    source, token, target, place = sys.argv[1:]
    load, save = kept_in(Path(place))
    push(Source(source, token, {"page_size": 2}), Target(target), load=load, save=save)
