"""Runs one recipe of DataHub to its end: ``python bench_datahub_run.py RECIPE``.

Prints, as JSON, the seconds that the run took without the start of Python and the imports, the most
bytes of memory that the process held, and how many records came to the sink.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from datahub.ingestion.run.pipeline import Pipeline


def main() -> None:
    recipe = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    started = time.perf_counter()
    pipeline = Pipeline.create(recipe)
    pipeline.run()
    pipeline.raise_from_status()
    seconds = time.perf_counter() - started
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    written = pipeline.sink.get_report().total_records_written
    print(json.dumps({"seconds": seconds, "memory": kilobytes * 1024, "records": written}))


if __name__ == "__main__":
    main()
