"""How a job is described on the command line: its name, and the options that are its arguments.

Invariant: an option holds no secret; ``--token-env`` names the variable that does, in the
environment of whoever executes the job.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

NAME = "A kind, such as audit, or the id of a job, such as sweep:shop."

Project = Annotated[str | None, typer.Option("--project", help="The project whose job it is.")]
Label = Annotated[
    str | None,
    typer.Option("--label", help="Tells backfills, or pushes of the catalog, apart."),
]
Source = Annotated[
    str | None, typer.Option("--source", help="Of a backfill: posthog or glitchtip.")
]
Url = Annotated[str | None, typer.Option("--url", help="Of a backfill: where that answers.")]
Of = Annotated[
    str | None, typer.Option("--of", help="Of a backfill: the project there, by number or name.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="DATE|BATCH",
        help="Of a backfill the oldest time, of reclassify the first batch.",
    ),
]
TokenEnv = Annotated[
    str | None,
    typer.Option(
        "--token-env",
        metavar="NAME",
        help="The variable that holds the token, where the job is executed.",
    ),
]
Server = Annotated[
    str | None, typer.Option("--server", help="Of catalog-push: where DataHub answers.")
]
Env = Annotated[
    str | None, typer.Option("--env", help="Of catalog-push: DataHub's environment, such as PROD.")
]
PlatformInstance = Annotated[
    str | None, typer.Option("--platform-instance", help="Of catalog-push: as DataHub names it.")
]
PublicUrl = Annotated[
    str | None,
    typer.Option(
        "--public-url", help="Of catalog-push: where people reach the platform, for links."
    ),
]
Again = Annotated[
    bool | None,
    typer.Option("--again/--no-again", help="Of catalog-push: send what was refused once more."),
]
Whole = Annotated[
    bool | None,
    typer.Option("--whole/--no-whole", help="Of catalog-push: send everything once more."),
]


def named(name: str, project: str | None, label: str | None) -> dict[str, Any]:
    """A job by its kind or its id; project and label may also be given apart."""
    kind, _, rest = name.partition(":")
    of, _, labelled = rest.partition(":")
    return {"kind": kind, "project": project or of or None, "label": label or labelled}


def job_id(job: dict[str, Any]) -> str:
    """The id that the server knows a job by."""
    parts = [job["kind"], job["project"] or "", job["label"]]
    return ":".join(parts).rstrip(":")


def arguments(kind: str, **given: str | bool | None) -> dict[str, Any]:
    """A job's arguments, of the options that were given."""
    found: dict[str, Any] = {
        # That something isn't wanted any more is said, too.
        name: value
        for name, value in given.items()
        if value or value is False
    }
    since = found.get("since", "")
    if kind == "reclassify" and since.isascii() and since.isdigit():
        found["since"] = int(since)
    return found


def words(seconds: float) -> str:
    """An interval in the largest unit that leaves a whole number: 90s, 5m, 6h, 1d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
