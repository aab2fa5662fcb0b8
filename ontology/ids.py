"""Mints the IRIs of everything the graph describes.

Invariant: an IRI is a pure function of the base and the canonical key of the thing, so two stewards
that see the same thing mint the same IRI. Things that projects share (datasets, topics,
environments, releases, people) have project-free keys.
Syntax: https://www.rfc-editor.org/rfc/rfc3987
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

DEFAULT_BASE = "http://fractalops.localhost"


class Ids:
    """Mints IRIs below one base, for example ``http://fractalops.localhost``."""

    def __init__(self, base: str = DEFAULT_BASE) -> None:
        if not base.startswith(("http://", "https://")) or base.endswith(("/", "#")):
            raise ValueError(
                f"the base must be an http(s) IRI without a trailing slash or hash, not {base!r}"
            )
        self.base = base

    def instance(self, kind: str, *key: str) -> str:
        """The IRI of the thing of this kind with this key; every segment is percent-encoded."""
        if not key or not all(key):
            raise ValueError(f"a {kind} needs a non-empty key, got {key!r}")
        return f"{self.base}/id/{kind}/" + "/".join(_segment(segment) for segment in key)

    def graph(self, name: str) -> str:
        """The IRI of a named graph, from its short name such as ``lineage/shop``."""
        if not name or not all(name.split("/")):
            raise ValueError(f"a graph needs a name such as lineage/shop, got {name!r}")
        return f"{self.base}/graph/" + "/".join(_segment(part) for part in name.split("/"))

    def lineage_graph(self, project: str) -> str:
        """The graph that holds what is known of one project."""
        return self.graph(f"lineage/{project}")

    def organisation(self, slug: str) -> str:
        return self.instance("organisation", slug)

    def project(self, slug: str) -> str:
        return self.instance("project", slug)

    def principal(self, slug: str) -> str:
        return self.instance("principal", slug)

    def grant(self, project: str, grantee: str) -> str:
        return self.instance("grant", project, grantee)

    def control_grant(self, grantee: str, kind: str, name: str) -> str:
        """The right of this principal (its slug) to control the asset or role (``kind``) of this
        name."""
        return self.instance("control-grant", grantee, kind, name)

    def signing_key(self, holder: str, key_id: str) -> str:
        """The key of this principal (its slug) with this hash, 8 hexadecimal digits."""
        return self.instance("signing-key", holder, key_id)

    def service(self, project: str, name: str) -> str:
        return self.instance("service", project, name)

    def operation(self, project: str, service: str, kind: str, name: str) -> str:
        return self.instance("operation", project, service, kind, name)

    def dependency(self, project: str, caller: str, callee: str) -> str:
        return self.instance("dependency", project, caller, callee)

    def data_store(self, system: str, address: str, namespace: str) -> str:
        return self.instance("data-store", system, address or "-", namespace or "-")

    def dataset(self, system: str, address: str, namespace: str, name: str) -> str:
        return self.instance("dataset", system, address or "-", namespace or "-", name)

    def topic(self, system: str, address: str, name: str) -> str:
        return self.instance("topic", system, address or "-", name)

    def column(
        self, kind: str, system: str, address: str, namespace: str, asset: str, name: str
    ) -> str:
        """A column of the data asset of this kind (``dataset`` or ``topic``) and key."""
        return self.instance("column", kind, system, address or "-", namespace or "-", asset, name)

    def column_derivation(self, made: str, source: str) -> str:
        """How the column with the IRI ``made`` comes from the one with the IRI ``source``."""
        return self.instance("column-derivation", _digest(made, source))

    def conflict(self, project: str, kind: str, asset: str, *parties: str) -> str:
        """The disagreement of this kind on a data asset (its IRI) between these parties."""
        return self.instance("conflict", project, kind, _digest(asset, *parties))

    def conflicts(self, project: str) -> str:
        """How the IRI of every conflict of this project begins."""
        return f"{self.instance('conflict', project)}/"

    def source_claim(self, conflict: str, party: str, says: str) -> str:
        """What one party says in the conflict with this IRI."""
        return self.instance("source-claim", _digest(conflict, party, says))

    def job(self, project: str, namespace: str, name: str) -> str:
        """A job; projects don't share one, for schedulers call their namespaces alike."""
        return self.instance("job", project, namespace or "-", name)

    def product_event_type(self, project: str, name: str) -> str:
        return self.instance("product-event-type", project, name)

    def log_event_type(self, project: str, service: str, name: str) -> str:
        return self.instance("log-event-type", project, service, name)

    def metric(self, project: str, service: str, name: str) -> str:
        return self.instance("metric", project, service, name)

    def page(self, project: str, path: str) -> str:
        """The page with this path template, such as ``/orders/{id}``."""
        return self.instance("page", project, path)

    def feature(self, project: str, name: str) -> str:
        return self.instance("feature", project, name)

    def error_issue(self, project: str, key: str) -> str:
        """The error issue with this grouping key (32 hexadecimal digits)."""
        return self.instance("error-issue", project, key)

    def environment(self, name: str) -> str:
        return self.instance("environment", name)

    def workload(self, cluster: str, namespace: str, name: str) -> str:
        """The workload with this kind and name, such as ``deployment/web``."""
        return self.instance("workload", cluster, namespace or "-", name)

    def runtime_asset(self, asset_id: str) -> str:
        return self.instance("runtime-asset", asset_id)

    def asset_role(self, name: str) -> str:
        return self.instance("asset-role", name)

    def permitted_action(self, asset_id: str, *rule: str) -> str:
        """What may be done to the asset with this id by this rule: its kind, effect and pattern."""
        return self.instance("permitted-action", asset_id, _digest(*rule))

    def integration_endpoint(self, endpoint_id: str) -> str:
        return self.instance("integration-endpoint", endpoint_id)

    def url(self, address: str) -> str:
        """An address has one IRI, whichever kind of URL it is: it can be of one only."""
        return self.instance("url", address)

    def entity_type(self, project: str, name: str) -> str:
        return self.instance("entity-type", project, name)

    def release(self, service: str, version: str) -> str:
        return self.instance("release", service, version)

    def evidence(self, digest: str) -> str:
        """The evidence batch with this commitment (64 hexadecimal digits)."""
        return self.instance("evidence", digest)

    def proposal(self, identifier: str) -> str:
        return self.instance("proposal", identifier)

    def decision(self, proposal: str, number: int) -> str:
        return self.instance("decision", proposal, str(number))

    def proof(self, index: int) -> str:
        """The proof log entry with this index."""
        return self.instance("proof", str(index))


def _digest(*key: str) -> str:
    """Stands for a key too long to be spelled out in an IRI."""
    return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]


def _segment(text: str) -> str:
    encoded = quote(text, safe="")
    # A dot segment would be removed by every client that resolves the IRI (RFC 3986, 5.2.4).
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded
