"""The plot of docs/performance.md: how the gate's cost grows with the graph and with the change.

Invariant: the same measurements give the same bytes: no date, no random identifiers.
Source: https://matplotlib.org/stable/
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from bench_gate_report import Gate, series, size_name

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes

_COLOURS = ("#0b5fa5", "#b3541e", "#5b8c2a", "#7a4ea3", "#6b6b6b")
_MARKS = "os^Dv"


def plot(gate: Gate, path: Path) -> None:
    """Writes an SVG file."""
    with pyplot.rc_context(
        {
            "svg.hashsalt": "gate",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.grid": True,
            "grid.alpha": 0.3,
        }
    ):
        figure, (by_graph, by_change) = pyplot.subplots(
            1, 2, figsize=(9, 3.6), sharey=True, layout="constrained"
        )
        style = zip(_COLOURS, _MARKS, strict=True)
        for (name, graphs, changes), (colour, mark) in zip(series(gate), style, strict=False):
            look = {"color": colour, "marker": mark, "markersize": 4}
            label = "our gate" if name == "ours" else name
            by_graph.plot(list(graphs), list(graphs.values()), label=label, **look)
            by_change.plot(list(changes), list(changes.values()), label=label, **look)
        _axes(by_graph, "graph, triples")
        _axes(by_change, "change, quads")
        by_graph.set_ylabel("median time, ms")
        by_graph.set_title("1,000 quads of updates, by size of the graph", fontsize=9)
        largest = max((cell.graph for cell in gate.cells), default=0)
        title = f"updates of a graph of {size_name(largest)} triples, by size of the change"
        by_change.set_title(title, fontsize=9)
        figure.legend(*by_graph.get_legend_handles_labels(), loc="outside lower center", ncols=5)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def _axes(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(label)
