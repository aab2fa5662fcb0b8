"""``fractalops schedules``: when jobs run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_api import cli_job_options as options
from graph_api.cli_errors import CommandError
from graph_api.cli_output import Column, column, say, show_rows
from graph_api.cli_session import DataOption, OutputOption, connect, output_format, seconds

if TYPE_CHECKING:
    from graph_api.client import Client

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")

COLUMNS = (
    column("job"),
    Column("every", lambda item: options.words(float(item.get("every") or 0))),
    Column("next", lambda item: "paused" if item.get("paused") else item.get("next")),
    Column("set", lambda item: bool(item.get("set"))),
    Column("last", lambda item: (item.get("last") or {}).get("state")),
    Column("ended", lambda item: (item.get("last") or {}).get("ended")),
    Column("error", lambda item: (item.get("last") or {}).get("error")),
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Its id, such as sweep:shop.")]

schedules = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(schedules, name="schedules", help="When jobs run.")


@schedules.command("list")
def list_schedules(
    context: typer.Context, data: DataOption = None, output: OutputOption = None
) -> None:
    """List the jobs that run by schedule: how often, when next, and how it went last.

    \b
    Example:
        fractalops schedules list
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.schedules()
    show_rows(found, COLUMNS, shown, nothing="Nothing runs by schedule.")


@schedules.command("set")
def set_schedule(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="KIND|JOB", help=options.NAME)],
    every: Annotated[
        str | None,
        typer.Option(
            "--every", metavar="DURATION", help="How often: 60s, 30m, 6h, 1d (default: as it was)."
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="HH:MM", help="A time of day, UTC, at which it runs (default: any)."
        ),
    ] = None,
    project: options.Project = None,
    label: options.Label = None,
    source: options.Source = None,
    url: options.Url = None,
    of: options.Of = None,
    since: options.Since = None,
    token_env: options.TokenEnv = None,
    server: options.Server = None,
    env: options.Env = None,
    platform_instance: options.PlatformInstance = None,
    public_url: options.PublicUrl = None,
    again: options.Again = None,
    whole: options.Whole = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Set when a job runs, and with which arguments; what isn't given stays as it was.

    \b
    Example:
        fractalops schedules set audit --every 24h --at 03:00
        fractalops schedules set sweep --project shop --every 60s
        fractalops schedules set catalog-push --every 1h --server http://datahub:8080
        fractalops schedules set backfill --project shop --label old --every 6h --source posthog
    """
    shown = output_format(context, output)
    document = options.named(name, project, label)
    given = options.arguments(
        document["kind"],
        source=source,
        url=url,
        of=of,
        since=since,
        token_env=token_env,
        server=server,
        env=env,
        platform_instance=platform_instance,
        public_url=public_url,
        again=again,
        whole=whole,
    )
    with connect(context, data) as client:
        job = options.job_id(document)
        before = next((item for item in client.schedules() if item.get("job") == job), None)
        if every is None and before is None:
            raise CommandError(f"{job} has no schedule yet: say how often it runs, as --every 6h")
        held = before or {}
        document["arguments"] = {**(held.get("arguments") or {}), **given}
        document["every"] = held["every"] if every is None else float(seconds(every))
        if at is not None:
            document["offset"] = _offset(at, document["every"])
        elif every is None:
            document["offset"] = held["offset"]
        document["paused"] = bool(held.get("paused"))
        made = client.set_schedule(document)
    show_rows([made], COLUMNS, shown, whole=made)


@schedules.command("pause")
def pause(context: typer.Context, job: JobId, data: DataOption = None) -> None:
    """Let a job run no more by schedule until it is resumed; it still runs when it is asked for.

    \b
    Example:
        fractalops schedules pause sweep:shop
    """
    with connect(context, data) as client:
        _set_again(client, job, paused=True)
    say(f"{job} is paused. It goes on with: fractalops schedules resume {job}")


@schedules.command("resume")
def resume(context: typer.Context, job: JobId, data: DataOption = None) -> None:
    """Let a paused job run by its schedule again.

    \b
    Example:
        fractalops schedules resume sweep:shop
    """
    with connect(context, data) as client:
        made = _set_again(client, job, paused=False)
    say(f"{job} runs every {options.words(made['every'])}, next at {made['next']}.")


@schedules.command("remove")
def remove(context: typer.Context, job: JobId, data: DataOption = None) -> None:
    """Take back what was set for a job: it runs as it usually does, or no more where it doesn't.

    \b
    Example:
        fractalops schedules remove audit
    """
    with connect(context, data) as client:
        client.remove_schedule(job)
        left = any(item.get("job") == job for item in client.schedules())
    say(f"{job} runs as it usually does." if left else f"{job} runs no more by schedule.")


def _set_again(client: Client, job: str, *, paused: bool) -> dict[str, Any]:
    found = next((item for item in client.schedules() if item.get("job") == job), None)
    if found is None:
        raise CommandError(
            f"no job {job!r} runs by schedule: 'fractalops schedules list' shows those that do"
        )
    taken = ("kind", "project", "label", "arguments", "every", "offset")
    return client.set_schedule({name: found[name] for name in taken} | {"paused": paused})


def _offset(at: str, every: float) -> float:
    """Seconds after the multiples of ``every`` at which it is this time of the day."""
    found = _TIME.fullmatch(at)
    if found is None:
        raise typer.BadParameter(f"{at!r} is no time of the day; write 03:00")
    return float((int(found[1]) * 3_600 + int(found[2]) * 60) % every)
