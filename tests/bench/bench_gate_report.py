"""What was measured of the gate, as figures, as Markdown tables and as a plot.

Invariant: nothing is left out silently: what was not measured is in the notes, and engines that do
not agree on a change are named.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench_figures import Baseline, Figure, number

_MADE = "made to be"


@dataclass
class Cell:
    """Seconds by engine that changes of one kind and size took on a graph of one size. ``kind`` is
    ``whole`` for validating the whole graph, and then ``size`` is 0."""

    graph: int
    kind: str
    size: int
    ours: list[float] = field(default_factory=list)
    peers: dict[str, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        if self.kind == "whole":
            return f"gate, whole graph of {size_name(self.graph)}"
        return f"gate, {self.kind} of {self.size:,} on {size_name(self.graph)}"


@dataclass
class Gate:
    """All of it. ``verdicts`` says of each change what each engine said and what is right."""

    cells: list[Cell] = field(default_factory=list)
    verdicts: dict[str, dict[str, bool]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def cell(self, graph: int, kind: str, size: int) -> Cell:
        """The one there is, or a new one."""
        for cell in self.cells:
            if (cell.graph, cell.kind, cell.size) == (graph, kind, size):
                return cell
        self.cells.append(Cell(graph, kind, size))
        return self.cells[-1]

    def smaller(self, cell: Cell) -> Cell | None:
        """What was measured of the next smaller changes of this kind on this graph."""
        alike = [
            other
            for other in self.cells
            if (other.kind, other.graph) == (cell.kind, cell.graph)
            and other.size < cell.size
            and other.ours
        ]
        return max(alike, key=lambda other: other.size, default=None)

    def told(self, change: str, graph: int, engine: str, conforms: bool, sound: bool) -> None:
        """Takes down a verdict; ``sound`` is what the change was made to be."""
        name = f"{change} on {size_name(graph)}"
        self.verdicts.setdefault(name, {_MADE: sound})[engine] = conforms

    def disagreements(self) -> list[str]:
        return [
            f"{change}: " + ", ".join(f"{engine} {_says(said[engine])}" for engine in said)
            for change, said in self.verdicts.items()
            if len(set(said.values())) > 1
        ]

    @property
    def agreement(self) -> str:
        """One sentence on the verdicts."""
        engines = sorted({engine for said in self.verdicts.values() for engine in said})
        broken = sum(not said[_MADE] for said in self.verdicts.values())
        several = sum(len(said) > 2 for said in self.verdicts.values())
        wrong = self.disagreements()
        told = (
            f"{len(self.verdicts)} changes, {broken} of them made to break a shape, {several} given"
            f" to several of {len(engines) - 1} engines: "
        )
        return told + ("all verdicts agree" if not wrong else "NOT AGREED: " + "; ".join(wrong))


def _says(conforms: bool) -> str:
    return "conforms" if conforms else "does not"


def size_name(triples: int) -> str:
    """100k, 1M, 5M."""
    if triples >= 1_000_000:
        return f"{triples / 1_000_000:g}M"
    return f"{triples / 1_000:g}k"


def percentile(seconds: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def figures(gate: Gate) -> list[Figure]:
    """One figure for each cell, in milliseconds, beside every peer, the same on the smallest graph
    and the next smaller changes."""
    return [_figure(cell, gate) for cell in gate.cells if cell.ours]


def _figure(cell: Cell, gate: Gate) -> Figure:
    baselines = [Baseline(name, _ms(seconds)) for name, seconds in cell.peers.items() if seconds]
    first, smaller = _first(cell, gate), gate.smaller(cell)
    if first is not None:
        baselines.append(Baseline(f"the same on {size_name(first.graph)}", _ms(first.ours)))
    if smaller is not None:
        times = cell.size // smaller.size
        measured = tuple(each * times for each in _ms(smaller.ours))
        baselines.append(Baseline(f"{times} changes of {smaller.size:,}", measured))
    note = f"p90 {number(_ms([percentile(cell.ours, 0.9)])[0])} ms of {len(cell.ours)}"
    return Figure(cell.name, "ms", _ms(cell.ours), tuple(baselines), note=note)


def _first(cell: Cell, gate: Gate) -> Cell | None:
    """The same on the smallest graph, unless this is it."""
    alike = [
        other
        for other in gate.cells
        if (other.kind, other.size) == (cell.kind, cell.size) and other.ours
    ]
    first = min(alike, key=lambda other: other.graph)
    return None if first is cell else first


def _ms(seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(1000 * each for each in seconds)


def markdown(gate: Gate) -> str:
    """Tables ready for docs/performance.md."""
    blocks = [_table(_changes(gate)), _table(_whole(gate))]
    return "\n\n".join(filter(None, (*blocks, "\n".join(f"- {note}" for note in gate.notes))))


def _changes(gate: Gate) -> list[list[str]]:
    cells = [cell for cell in gate.cells if cell.kind != "whole" and (cell.ours or cell.peers)]
    peers = list(dict.fromkeys(name for cell in cells for name in cell.peers))
    rows = [["change", "graph", "p50", "p90", "least to most", "growth", *peers]]
    for cell in sorted(cells, key=lambda cell: (cell.size, cell.kind, cell.graph)):
        first = _first(cell, gate) if cell.ours else None
        rows.append(
            [
                f"{cell.kind}, {cell.size:,}",
                size_name(cell.graph),
                *_spread(cell.ours),
                f"{_median(cell.ours) / _median(first.ours):.2f}" if first else "",
                *(_beside(cell.ours, cell.peers.get(name)) for name in peers),
            ]
        )
    return rows


def _whole(gate: Gate) -> list[list[str]]:
    cells = [cell for cell in gate.cells if cell.kind == "whole"]
    peers = list(dict.fromkeys(name for cell in cells for name in cell.peers))
    rows = [["whole graph", "p50", *peers]]
    for cell in cells:
        ours = _time(_median(cell.ours)) if cell.ours else ""
        beside = (_beside(cell.ours, cell.peers.get(name)) for name in peers)
        rows.append([size_name(cell.graph), ours, *beside])
    return rows


def _spread(seconds: Sequence[float]) -> tuple[str, str, str]:
    if not seconds:
        return "", "", ""
    least_to_most = f"{_time(min(seconds))} to {_time(max(seconds))} of {len(seconds)}"
    return _time(_median(seconds)), _time(percentile(seconds, 0.9)), least_to_most


def _beside(ours: Sequence[float], theirs: Sequence[float] | None) -> str:
    """A peer's median, and how many times ours that is."""
    if not theirs:
        return ""
    times = f" ({number(_median(theirs) / _median(ours))}x)" if ours else ""
    return _time(_median(theirs)) + times


def _median(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)


def _time(seconds: float) -> str:
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(1000 * seconds)} ms"


def _table(rows: Sequence[Sequence[str]]) -> str:
    if len(rows) < 2:
        return ""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def series(gate: Gate) -> Iterator[tuple[str, Mapping[int, float], Mapping[int, float]]]:
    """For the plot: an engine's name, its medians in milliseconds by size of graph for changes of
    1,000 statements, and by size of change on the largest graph; of changes to existing things."""
    cells = [cell for cell in gate.cells if cell.kind == "update"]
    if not cells:
        return
    sizes = sorted({cell.size for cell in cells})
    middle = 1_000 if 1_000 in sizes else sizes[-1]
    largest = max(cell.graph for cell in cells)
    names = ["ours", *dict.fromkeys(name for cell in cells for name in cell.peers)]
    for name in names:
        told = {
            (cell.graph, cell.size): 1000 * _median(found)
            for cell in cells
            if (found := cell.ours if name == "ours" else cell.peers.get(name))
        }
        by_graph = {graph: ms for (graph, size), ms in told.items() if size == middle}
        by_change = {size: ms for (graph, size), ms in told.items() if graph == largest}
        yield name, by_graph, by_change
