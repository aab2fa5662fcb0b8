"""The steward as a LangGraph graph: which step follows which.

::

    begin ──> observe ──> read, for each source ──> draft <──> submit ──> settle ──> observe
                └─ no page ──> review ──> publish ──> reflect ──> wait for a person
                                                         │           └──> follow ──> observe
                                                         └─ nothing waits ──> end

Invariant: this module and :mod:`stewards.checkpoints` are the only ones that import LangGraph, and
it knows neither Temporal nor a clock: what happens at a node is :mod:`stewards.sweep`'s. Every step
may be carried out twice. A proposal that policy lets pass is published with its cycle; one that
waits for a person interrupts the run, and the next cycle resumes it: with what was decided, with
new facts, or with both. What a resume carries is a reason to look and no decision: the gate is
asked what was decided.
Source: https://docs.langchain.com/oss/python/langgraph/graph-api
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send, interrupt

from stewards.run_state import Reading, State
from stewards.sources import BY_NAME
from stewards.sweep import Sweep

Graph = CompiledStateGraph[Any, Any, Any, Any]
Step = Callable[[Sweep, Any], Mapping[str, Any]]

STEPS: dict[str, Step] = {
    "begin": Sweep.begin,
    "observe": Sweep.observe,
    "read": Sweep.read,
    "draft": Sweep.draft,
    "submit": Sweep.submit,
    "settle": Sweep.settle,
    "review": Sweep.review,
    "publish": Sweep.publish,
    "reflect": Sweep.reflect,
    "follow": Sweep.follow,
}
WAIT = "wait"


@dataclass(frozen=True)
class Context:
    """What a run is given and no checkpoint holds: the steward that it is a run of."""

    sweep: Sweep


def build(
    checkpointer: BaseCheckpointSaver[Any] | None = None, sweep: Sweep | None = None
) -> Graph:
    """The compiled graph, for every steward; or for one, where callers can give no context."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State, Context if sweep is None else None)
    for name in STEPS:
        graph.add_node(name, _node(name, sweep))
    graph.add_node(WAIT, _wait)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "observe")
    graph.add_conditional_edges("observe", _fan_out, ["read", "review"])
    graph.add_edge("read", "draft")
    graph.add_conditional_edges("draft", _after_draft, ["submit", "settle"])
    graph.add_conditional_edges("submit", _after_submit, ["draft", "submit", "settle"])
    graph.add_edge("settle", "observe")
    graph.add_edge("review", "publish")
    graph.add_edge("publish", "reflect")
    graph.add_conditional_edges("reflect", _after_reflect, [WAIT, END])
    graph.add_edge(WAIT, "follow")
    graph.add_edge("follow", "observe")
    return graph.compile(checkpointer=checkpointer, name="steward")


def _node(name: str, own: Sweep | None) -> Callable[..., Mapping[str, Any]]:
    def node(state: Any, runtime: Runtime[Context]) -> Mapping[str, Any]:
        return STEPS[name](own or runtime.context.sweep, state)

    return node


def _wait(state: State) -> Mapping[str, Any]:
    interrupt({"project": state["project"], "awaiting": state["awaiting"]})
    return {}


def _fan_out(state: State) -> list[Send] | str:
    page = state.get("page")
    if page is None:
        return "review"
    return [
        Send("read", Reading(project=state["project"], source=source, page=page))
        for source in BY_NAME
    ]


def _after_draft(state: State) -> str:
    return "submit" if state["drafts"] else "settle"


def _after_submit(state: State) -> str:
    if state["base"] < 0:
        return "draft"
    return "submit" if state["drafts"] else "settle"


def _after_reflect(state: State) -> str:
    return WAIT if state.get("awaiting") else END
