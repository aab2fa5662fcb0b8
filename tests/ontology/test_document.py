"""The generated pages are those of the Turtle as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ontology import document
from ontology.library import ontology_turtle
from ontology.vocab import FO, Fo, Owl
from shapes import document as shapes_document

ROOT = Path(__file__).parents[2]
ONTOLOGY = (ROOT / "docs" / "ontology.md").read_text(encoding="utf-8")
SHAPES = (ROOT / "docs" / "shapes.md").read_text(encoding="utf-8")


def test_the_page_of_the_ontology_is_up_to_date() -> None:
    assert document.page() == ONTOLOGY, "run: python -m ontology.document > docs/ontology.md"


def test_the_page_of_the_shapes_is_up_to_date() -> None:
    assert shapes_document.page() == SHAPES, "run: python -m shapes.document > docs/shapes.md"


@pytest.mark.parametrize(
    ("module", "page"), [("ontology.document", ONTOLOGY), ("shapes.document", SHAPES)]
)
def test_the_command_prints_the_page(module: str, page: str) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", module], cwd=ROOT, capture_output=True, check=True
    )
    assert printed.stdout.decode() == page


def test_every_term_is_on_the_page() -> None:
    for name, iri in vars(Fo).items():
        if not name.startswith("_"):
            assert f"`fo:{iri[len(FO) :]}`" in ONTOLOGY, iri


def test_a_union_is_written_out() -> None:
    assert "| `fo:callsOperation` | `fo:HttpCall` or `fo:RpcCall` |" in ONTOLOGY


def test_tables_keep_their_columns() -> None:
    widths: dict[str, int] = {}
    for line in [*ONTOLOGY.splitlines(), *SHAPES.splitlines()]:
        if line.startswith("| --- "):
            widths["now"] = line.count("|")
        elif line.startswith("| `"):
            assert line.replace("\\|", "").count("|") == widths["now"], line


def test_a_cell_can_hold_a_bar() -> None:
    assert document.table(["A"], [["x|y\nz"]]) == "| A |\n| --- |\n| x\\|y z |\n"
    assert document.table(["A"], []) == ""


def test_subclasses_stand_below_their_class() -> None:
    tree = ONTOLOGY.partition("at a glance")[2].partition("##")[0]
    assert "\n- `fo:Principal`" in tree
    assert "\n  - `fo:Agent`" in tree
    assert "\n    - `fo:Steward`" in tree
    classes = document.Document.read(ontology_turtle().values()).ours(Owl.Class)
    assert len(tree.strip().splitlines()) == len(classes)
