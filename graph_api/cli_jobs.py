"""``fractalops jobs``: asking for runs, and what became of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_api import cli_job_options as options
from graph_api.cli_errors import CommandError
from graph_api.cli_output import Output, column, say, show_facts, show_rows, working
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

if TYPE_CHECKING:
    from graph_api.client import Client

COLUMNS = (
    *(column("id"), column("job"), column("state"), column("attempt"), column("executor")),
    *(column("began"), column("ended"), column("error")),
)
LETTER_COLUMNS = (
    *(column("urn"), column("target"), column("status"), column("attempts"), column("error")),
)
PAUSE = 0.5
"""Seconds between two looks at a run that is waited for."""
UNTOUCHED = 10.0
"""Seconds after which somebody who waits is told that nobody has begun it."""

RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's, as 'jobs list' shows it.")]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="Wait for its end; the exit code is 1 where it failed."),
]

jobs = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(jobs, name="jobs", help="What runs by schedule or on request.")


@jobs.command("list")
def list_runs(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Option("--job", metavar="JOB", help="Of this job alone: sweep:shop.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 50,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """List the newest runs of jobs, and how they went. Sweeps that found nothing are no runs.

    \b
    Example:
        fractalops jobs list --job audit
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.job_runs(job, limit)
    show_rows(found, COLUMNS, shown, nothing="No such runs.")


@jobs.command("show")
def show(
    context: typer.Context, identifier: RunId, data: DataOption = None, output: OutputOption = None
) -> None:
    """Show one run: where it stands, what came of it, or why it failed.

    \b
    Example:
        fractalops jobs show 20261128-da41c305f2
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.job_run(identifier)
    show_facts(found, shown, whole=found)


@jobs.command("run")
def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="KIND|JOB", help=options.NAME)],
    wait: Wait = False,
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
    """Ask for a run of a job, with the arguments of its schedule where they aren't given.

    \b
    Example:
        fractalops jobs run audit --wait
        fractalops jobs run sweep:shop
        fractalops jobs run reclassify --project shop --since 120
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
        held = next((item for item in client.schedules() if item.get("job") == job), {})
        document["arguments"] = {**(held.get("arguments") or {}), **given}
        _ask(client, document, shown, wait=wait)


@jobs.command("again")
def run_again(
    context: typer.Context,
    identifier: RunId,
    wait: Wait = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Ask for another run of the same job, with the same arguments.

    \b
    Example:
        fractalops jobs again 20261128-da41c305f2 --wait
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.job_run(identifier)
        taken = ("kind", "project", "label", "arguments")
        _ask(client, {name: found[name] for name in taken}, shown, wait=wait)


@jobs.command("letters")
def letters(
    context: typer.Context,
    job: Annotated[
        str, typer.Argument(metavar="[JOB]", help="The push, by its id.")
    ] = "catalog-push",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """List the entities that DataHub refused, and what it said of each.

    They are sent again when they change, or with: fractalops jobs run JOB --again

    \b
    Example:
        fractalops jobs letters catalog-push
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        dead = (client.job_document(job).get("value") or {}).get("dead")
    found = [item for item in dead if isinstance(item, dict)] if isinstance(dead, list) else []
    show_rows(found, LETTER_COLUMNS, shown, nothing=f"DataHub refused nothing of {job}.")


def _ask(client: Client, document: dict[str, Any], shown: Output, *, wait: bool) -> None:
    asked = client.ask_job(document)
    found = _end(client, asked) if wait else asked
    show_facts(found, shown, whole=found)
    if not wait:
        say(f"Asked for. How it goes: fractalops jobs show {found['id']}")
    elif found.get("state") == "failed":
        raise CommandError(
            f"{found.get('job')} failed: {found.get('error')}\n"
            f"Once that is mended: fractalops jobs again {found['id']}"
        )


def _end(client: Client, found: dict[str, Any]) -> dict[str, Any]:
    """The run once it has ended; failed attempts are told of as they happen."""
    began, told = time.monotonic(), {"untouched": False, "attempt": 0}
    with working(f"{found.get('job')} is asked for") as show:
        while found.get("state") not in ("done", "failed"):
            state, attempt = found.get("state"), int(found.get("attempt") or 0)
            show(f"{found.get('job')}: {state}, attempt {attempt}")
            if state == "retrying" and told["attempt"] != attempt:
                told["attempt"] = attempt
                say(f"Attempt {attempt} failed, another follows: {found.get('error')}")
            if state == "asked" and not told["untouched"] and time.monotonic() - began > UNTOUCHED:
                told["untouched"] = True
                say("Nobody has begun it yet: 'fractalops status' shows who executes jobs.")
            time.sleep(PAUSE)
            found = client.job_run(str(found["id"]))
    return found
