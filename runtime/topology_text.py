"""Reads a stranger's YAML as plain values, and remembers in which line each of them stands.

Invariant: what is read takes memory and time that grow with the text alone: its size, its nodes and
its depth are bounded, and anchors, aliases and tags are refused, so that nothing in it is worth
more than its characters. Plain scalars are read by a part of YAML 1.2's core schema: ``true`` and
``false``, ``null``, decimal numbers, and texts; ``no`` and ``on`` are texts.
Specification: https://yaml.org/spec/1.2.2/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from runtime.errors import TopologyError

MAX_BYTES: Final = 1024 * 1024
MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 16

Place = tuple[str | int, ...]
"""Where a value stands: the keys and indexes that lead to it."""

# The reader written in C where there is one: the other takes seconds for what is allowed here.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class Text:
    """The values of a document, and the lines (from 1) of each place."""

    value: Any
    lines: Mapping[Place, int]

    def at(self, place: Place, fault: str) -> str:
        """A fault with the line and the path of where it is."""
        known = place
        while known not in self.lines:
            known = known[:-1]
        path = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in place
        ).removeprefix(".")
        return f"line {self.lines[known]}{f', {path}' if path else ''}: {fault}"


def read_text(data: bytes, example: str = "examples/topology.yaml") -> Text:
    """The values of a YAML document, of which ``example`` is one. Raises :class:`TopologyError`
    with the line."""
    if len(data) > MAX_BYTES:
        raise TopologyError([f"the file has {len(data)} bytes; {MAX_BYTES} are the most"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TopologyError([f"line {line}: the file is no UTF-8"]) from error
    try:
        _check(text)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        raise TopologyError([f"{where}: no YAML: {error.problem or error.context}"]) from error
    except yaml.YAMLError as error:
        raise TopologyError([f"the file is no YAML: {error}"]) from error
    if node is None:
        raise TopologyError([f"the file is empty; see {example}"])
    lines: dict[Place, int] = {}
    faults: list[str] = []
    value = _value(node, (), lines, faults)
    if faults:
        raise TopologyError(faults)
    return Text(value, lines)


def _check(text: str) -> None:
    """Refuses what would grow, before anything is made of it."""
    nodes = depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise TopologyError([f"line {line}: anchors and aliases are not read; write it out"])
        if getattr(event, "tag", None) is not None:
            raise TopologyError([f"line {line}: tags are not read; leave it out"])
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            limit = f"{MAX_NODES} values" if nodes > MAX_NODES else f"a depth of {MAX_DEPTH}"
            raise TopologyError([f"line {line}: the file has more than {limit}"])


def _value(node: yaml.Node, place: Place, lines: dict[Place, int], faults: list[str]) -> Any:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, (*place, number), lines, faults) for number, item in enumerate(node.value)
        ]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                faults.append(f"line {line}: a key must be a text")
            elif key.value in found:
                faults.append(f"line {line}: the key {key.value[:128]!r} stands here twice")
            else:
                found[key.value] = _value(item, (*place, key.value), lines, faults)
        return found
    text = str(node.value)
    # Quoted or a block: a text, whatever it looks like.
    if node.style:
        return text
    if text in ("true", "false"):
        return text == "true"
    if text in ("", "~", "null"):
        return None
    return int(text) if _NUMBER.fullmatch(text) else text
