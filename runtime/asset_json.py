"""Runtime assets and integration endpoints as JSON.

Invariant: every member is always there, so that a reader need not ask whether; what isn't known is
``null`` or empty. Locators stand apart from what an asset means, and the kinds of URL from one
another.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ontology.ids import Ids
from runtime.assets import IntegrationEndpoint, RuntimeAsset
from runtime.permitted_actions import PermittedAction, PermittedCommand


def asset_json(asset: RuntimeAsset, ids: Ids) -> dict[str, Any]:
    """One runtime asset; IRIs throughout but for its id, roles and capabilities."""
    status = asset.status
    return {
        "asset_id": asset.asset_id,
        "iri": asset.iri or ids.runtime_asset(asset.asset_id),
        "kind": asset.kind,
        "label": asset.label or None,
        "roles": list(asset.roles),
        "owner": asset.owner or None,
        "project": asset.project or None,
        "environment": asset.environment or None,
        "status": None
        if status is None
        else {"state": status.state, "since": status.since, "evidence": list(status.evidence)},
        "capabilities": list(asset.capabilities),
        "permits": [_action(action) for action in asset.permits],
        "urls": {
            "public": [url.address for url in asset.public],
            "executor": None if asset.executor is None else asset.executor.address,
            "internal": [url.address for url in asset.internal],
        },
        "hosts": list(asset.hosts),
        "locators": {name: value for name, value in asdict(asset.locators).items() if value},
        "declared_in": asset.declared_in or None,
    }


def endpoint_json(endpoint: IntegrationEndpoint, ids: Ids) -> dict[str, Any]:
    """One integration endpoint; what services call is ``url``."""
    urls = endpoint.urls
    return {
        "endpoint_id": endpoint.endpoint_id,
        "iri": endpoint.iri or ids.integration_endpoint(endpoint.endpoint_id),
        "label": endpoint.label or None,
        "product": endpoint.product or None,
        "owner": endpoint.owner or None,
        "project": endpoint.project or None,
        "environment": endpoint.environment or None,
        "url": urls[0].address if urls else None,
        "urls": {
            "public": [url.address for url in endpoint.public],
            "internal": [url.address for url in endpoint.internal],
        },
        "authentication": {
            "scheme": endpoint.authentication.scheme,
            "reference": endpoint.authentication.reference or None,
        },
        "readiness_path": endpoint.readiness_path,
        "declared_in": endpoint.declared_in or None,
    }


def _action(action: PermittedAction) -> dict[str, Any]:
    if isinstance(action, PermittedCommand):
        return {"argv": list(action.argv), "effect": action.effect}
    return {"methods": list(action.methods), "path": action.path, "effect": action.effect}
