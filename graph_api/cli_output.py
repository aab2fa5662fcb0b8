"""Prints what commands found: data on stdout, messages on stderr.

Invariant: text from outside (labels, rationales, IRIs, results, a server's own words) never reaches
a terminal as anything but visible characters: control and formatting characters are spelled out and
no markup is interpreted. Piped data is exact. CSV: https://www.rfc-editor.org/rfc/rfc4180
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from graph_api.cli_errors import OutputClosed
from graph_api.harmless import visible as visible
from graph_api.harmless import visible_json
from graph_api.harmless import visible_text as visible_text

if TYPE_CHECKING:
    from rich.console import Console

# Wide enough for any row: a table that is piped is never cut.
_PIPED_WIDTH = 100_000


class Output(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True)
class Column:
    """One column: its heading, how the cell is taken from an item, and how a table shortens it."""

    name: str
    cell: Callable[[Mapping[str, Any]], object]
    short: Callable[[str], str] | None = None

    def shown(self, item: Mapping[str, Any]) -> object:
        """The cell of a table."""
        cell = self.cell(item)
        return cell if self.short is None or cell is None else self.short(cell_text(cell))


def column(
    name: str, key: str | None = None, *, short: Callable[[str], str] | None = None
) -> Column:
    """The column that shows one member of an item as it is, in a table perhaps shortened."""
    return Column(name, lambda item: item.get(key or name), short)


def cell_text(value: object) -> str:
    """A cell as plain text; nothing is empty, lists are joined."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return ", ".join(cell_text(part) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {cell_text(part)}" for name, part in value.items())
    return str(value)


def show_rows(
    items: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    output: Output,
    *,
    whole: object = None,
    nothing: str = "",
) -> None:
    """Print items as a table, as JSON (every member, not only the columns) or as CSV.

    ``whole`` is what JSON prints instead of the list of items, ``nothing`` the message on stderr
    when a table would have no rows.
    """
    if output is Output.JSON:
        show_json(items if whole is None else whole)
    elif output is Output.CSV:
        show_csv([c.name for c in columns], ([c.cell(item) for c in columns] for item in items))
    elif not items and nothing:
        say(nothing)
    else:
        show_table([c.name for c in columns], ([c.shown(item) for c in columns] for item in items))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a terminal folds long cells, a pipe gets whole lines."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    piped = not sys.stdout.isatty()
    # A rule as long as the longest row helps nobody in a file.
    table = Table(box=None if piped else box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(Text(visible(heading)), overflow="fold", no_wrap=piped)
    for row in rows:
        table.add_row(*(Text(visible(cell_text(cell))) for cell in row))
    show(table)


def show_facts(facts: Mapping[str, object], output: Output, *, whole: object) -> None:
    """Print names and values: aligned lines, JSON (``whole``) or CSV with two columns."""
    if output is Output.JSON:
        show_json(whole)
    elif output is Output.CSV:
        show_csv(["name", "value"], facts.items())
    else:
        from rich.table import Table
        from rich.text import Text

        piped = not sys.stdout.isatty()
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold", no_wrap=piped)
        for name, value in facts.items():
            table.add_row(Text(visible(name)), Text(visible(cell_text(value))))
        show(table)


def show(renderable: object) -> None:
    """Print something rich can render; whatever text it holds must be made visible before."""
    buffer = io.StringIO()
    terminal = sys.stdout.isatty()
    console = _console(buffer, terminal, width=None if terminal else _PIPED_WIDTH)
    console.print(renderable, soft_wrap=isinstance(renderable, str))
    lines = buffer.getvalue().splitlines()
    write("\n".join(line.rstrip() if not terminal else line for line in lines) + "\n")


def show_json(value: object) -> None:
    """Print a value as JSON; invisible characters are written as escapes, which JSON allows."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    write(visible_json(text) + "\n")


def show_csv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print CSV with a heading line, exact when piped."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(headings)
    for row in rows:
        writer.writerow([cell_text(cell) for cell in row])
    show_text(buffer.getvalue().replace("\r\n", "\n") if sys.stdout.isatty() else buffer.getvalue())


def show_text(text: str) -> None:
    """Print a document: exact when piped, made visible on a terminal; it ends with a line end."""
    if sys.stdout.isatty():
        text = visible_text(text.replace("\r\n", "\n"))
    write(text if text.endswith("\n") or not text else text + "\n")


def show_stream(parts: Iterable[bytes], *, whole_lines: bool = False) -> None:
    """Print a document of any size as it comes: byte for byte when piped.

    On a terminal, and with ``whole_lines`` in a pipe too, a last line without an end gets one.
    """
    terminal = sys.stdout.isatty()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    last = b"\n"
    for part in parts:
        last = part[-1:] or last
        if terminal:
            write(visible_text(decoder.decode(part).replace("\r\n", "\n")))
        else:
            _write_bytes(part)
    if last != b"\n" and (terminal or whole_lines):
        write("\n")


def show_line(text: str) -> None:
    """Print one line of data."""
    write(visible(text) + "\n")


def write(text: str) -> None:
    """Write to stdout; characters that its encoding lacks are spelled out."""
    _write_bytes(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def _write_bytes(data: bytes) -> None:
    """Write all of it to stdout."""
    show_raw(data, sys.stdout)


def show_raw(data: bytes, stream: TextIO) -> None:
    """Write all of it and flush: the one place that meets a reader who went away."""
    rest = memoryview(data)
    try:
        stream.flush()
        while rest:
            # An unbuffered stream (PYTHONUNBUFFERED) writes what the pipe takes and says how much.
            rest = rest[stream.buffer.write(rest) :]
        stream.buffer.flush()
    except BrokenPipeError as error:
        raise OutputClosed from error


def say(text: str) -> None:
    """A message for the person, on stderr."""
    _message(text, None)


def warn(text: str) -> None:
    """A message that must not be overlooked, on stderr."""
    _message(f"warning: {text}", "yellow")


def fail(text: str) -> None:
    """Why the command failed, on stderr."""
    _message(f"error: {text}", "bold red")


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show that something long goes on, on a terminal's stderr only; yields a way to say what."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.text import Text

    console = _console(sys.stderr, True, width=None)
    with console.status(Text(visible(what))) as status:
        yield lambda text: status.update(Text(visible(text)))


def _message(text: str, style: str | None) -> None:
    from rich.text import Text

    terminal = sys.stderr.isatty()
    console = _console(sys.stderr, terminal, width=None)
    console.print(Text(visible_text(text), style=style or ""), soft_wrap=True)


def _console(stream: TextIO, terminal: bool, *, width: int | None) -> Console:
    from rich.console import Console

    if terminal and width is None and stream is not sys.stderr:
        # The buffer has no size of its own: ask for the terminal's.
        width = Console(file=sys.stdout).width
    return Console(
        file=stream,
        force_terminal=terminal,
        width=width,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )
