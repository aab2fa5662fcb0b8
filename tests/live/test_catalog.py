"""The catalog of a running server: pages of one head, changes since another, and who sees what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pyoxigraph import RdfFormat, parse

from ontology.vocab import Fo, Rdf, Rdfs

if TYPE_CHECKING:
    from tests.live.conftest import Platform

pytestmark = pytest.mark.live

DCAT = "http://www.w3.org/ns/dcat#"


def dataset(platform: Platform, name: str) -> tuple[str, str]:
    """The IRI of a dataset, and what a proposal says of it."""
    iri = platform.server.ids.dataset("mysql", "catalog.example", "catalog", name)
    said = f'<{iri}> <{Rdf.type}> <{Fo.Dataset}> ; <{Rdfs.label}> "{name}" .'
    return iri, said


def get(platform: Platform, path: str, who: str = "operator", **parameters: Any) -> dict[str, Any]:
    with platform.client(who) as client:
        answer = client.get(path, params=parameters or None)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert str(document["head"]) == answer.headers["fractalops-head"]
    return document


def pages(platform: Platform, first: dict[str, Any]) -> Iterator[dict[str, Any]]:
    page = first
    yield page
    while page["next"] is not None:
        page = get(platform, page["next"])
        yield page


def test_all_pages_are_of_the_head_of_the_first(platform: Platform) -> None:
    names = [dataset(platform, f"paged-{number}") for number in range(5)]
    platform.server.propose("shop", "\n".join(said for _, said in names))
    first = get(platform, "/catalog", kind="dataset", limit=2)
    late, said = dataset(platform, "paged-late")
    platform.server.propose("shop", said)
    read = list(pages(platform, first))
    assert {page["head"] for page in read} == {first["head"]}
    found = [item["id"] for page in read for item in page["items"]]
    assert found == sorted(set(found))
    assert {iri for iri, _ in names} <= set(found)
    assert late not in found
    (item,) = (item for page in read for item in page["items"] if item["id"] == names[0][0])
    with platform.client("analyst") as client:
        chain = client.get(item["proof"]["explain"])
    assert item["proof"]["proposal"] in chain.text


def test_what_changed_since_a_head_is_told_or_everything_is(platform: Platform) -> None:
    iri, said = dataset(platform, "changing")
    head = get(platform, "/catalog", limit=1)["head"]
    same = get(platform, "/catalog", since=head)
    assert (same["items"], same["gone"], same["complete"]) == ([], [], False)
    platform.server.propose("shop", said)
    changed = get(platform, "/catalog", since=head)
    assert [item["id"] for item in changed["items"]] == [iri]
    lines = "".join(
        f"{quad.triple} <{platform.server.ids.lineage_graph('shop')}> .\n"
        for quad in parse(said, RdfFormat.TURTLE)
    )
    removal = {"project": "shop", "rationale": "gone", "removals": lines}
    platform.server.post("/proposals", removal)
    gone = get(platform, "/catalog", since=changed["head"])
    assert (gone["items"], gone["gone"], gone["complete"]) == ([], [iri], False)

    platform.server.post("/projects", {"slug": "catalog-new"})
    assert get(platform, "/catalog", since=changed["head"], limit=1)["complete"]
    assert get(platform, "/catalog", since=10**9, limit=1)["complete"]


def test_a_restricted_project_is_in_nobody_else_s_catalog(platform: Platform) -> None:
    platform.server.post("/projects", {"slug": "catalog-vault", "restricted": True})
    head = get(platform, "/catalog", limit=1)["head"]
    iri, said = dataset(platform, "catalog-secret")
    platform.server.propose("catalog-vault", said)
    for parameters in ({"kind": "dataset"}, {"since": head}):
        seen = get(platform, "/catalog", limit=5000, **parameters)["items"]
        assert iri in {item["id"] for item in seen}
        hidden = get(platform, "/catalog", "analyst", limit=5000, **parameters)
        assert "catalog-secret" not in str(hidden)
        # Who may read it can ask for what everybody may read, too.
        asked = get(platform, "/catalog", limit=5000, unrestricted="true", **parameters)
        assert asked["items"] == hidden["items"]
    assert "catalog-vault" not in str(get(platform, "/catalog", "analyst", limit=5000))
    # The pages that follow are of what the first one was.
    first = get(platform, "/catalog", limit=7, unrestricted="true")
    read = [item for page in pages(platform, first) for item in page["items"]]
    assert len(read) > 7
    assert "catalog-vault" not in str(read)
    with platform.client("analyst") as client:
        turtle = client.get("/catalog", headers={"Accept": "text/turtle"}).text
    assert "catalog-secret" not in turtle


@pytest.mark.parametrize(
    ("media_type", "form"),
    [
        ("text/turtle", RdfFormat.TURTLE),
        ("application/n-triples", RdfFormat.N_TRIPLES),
        ("application/ld+json", RdfFormat.JSON_LD),
    ],
)
def test_it_comes_as_dcat_page_by_page(
    platform: Platform, media_type: str, form: RdfFormat
) -> None:
    iri, said = dataset(platform, f"dcat-{media_type.rpartition('/')[2]}")
    platform.server.propose("shop", said)
    triples: set[str] = set()
    with platform.client("operator") as client:
        path = "/catalog?limit=2"
        while path:
            answer: httpx.Response = client.get(path, headers={"Accept": media_type})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith(media_type)
            triples |= {str(quad.triple) for quad in parse(answer.content, form)}
            path = answer.links.get("next", {}).get("url", "")
    assert f"<{iri}> <{Rdf.type}> <{DCAT}Dataset>" in triples
    assert f"<{platform.server.ids.base}/catalog> <{DCAT}dataset> <{iri}>" in triples


def test_an_unchanged_page_is_not_sent_again(platform: Platform) -> None:
    with platform.client("analyst") as client:
        first = client.get("/catalog", params={"kind": "dataset", "limit": 1})
        again = client.get(
            "/catalog",
            params={"kind": "dataset", "limit": 1},
            headers={"If-None-Match": first.headers["etag"]},
        )
        assert (first.status_code, again.status_code) == (200, 304)
        for wrong in ({"limit": 0}, {"limit": 5001}, {"kind": "secret"}, {"cursor": "x"}):
            refused = client.get("/catalog", params=wrong)
            assert refused.status_code == 400, wrong
            assert refused.json()["type"].endswith("/parameter-invalid")
        assert client.get("/catalog", headers={"Accept": "text/csv"}).status_code == 406
        assert client.post("/catalog").status_code == 405
