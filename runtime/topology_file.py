"""The form of a topology's file, as pydantic checks it at the edge.

Invariant: a body holds texts and numbers of bounded length and nothing else; what they mean is said
by :mod:`runtime.topology`. The form is described in docs/assets.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from runtime.assets import Kind, Scheme
from runtime.permitted_actions import Effect

SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_MOST = 1_000


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Names = Annotated[list[Annotated[str, Field(pattern=_NAME)]], Field(max_length=_MOST)]
_Texts = Annotated[list[str], BeforeValidator(_several), Field(max_length=_MOST)]
_Owner = Annotated[
    str, Field(pattern=r"^(organisation|principal)/[a-z0-9][a-z0-9-]{0,62}$", max_length=80)
]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class UrlsBody(Body):
    public: _Texts = []
    executor: str | None = None
    internal: _Texts = []


class EndpointUrlsBody(Body):
    public: _Texts = []
    internal: _Texts = []


class LocatorsBody(Body):
    node: str = Field(default="", max_length=253)
    vmid: int = Field(default=0, ge=0, le=999_999_999)
    container: str = Field(default="", max_length=253)
    cluster: str = Field(default="", max_length=253)
    namespace: str = Field(default="", max_length=63)
    workload: str = Field(default="", max_length=253)


class PermitBody(Body):
    effect: Effect
    argv: list[str] | None = Field(default=None, min_length=1, max_length=200)
    methods: list[Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]] | None = (
        Field(default=None, min_length=1, max_length=7)
    )
    path: str | None = Field(default=None, max_length=2000)


class ThingBody(Body):
    id: str = Field(pattern=_NAME)
    owner: _Owner | None = None
    label: str = Field(default="", max_length=200)
    project: str | None = Field(default=None, pattern=SLUG)
    environment: str | None = Field(default=None, min_length=1, max_length=200)


class AssetBody(ThingBody):
    kind: Kind
    roles: Annotated[_Names, BeforeValidator(_several)] = []
    urls: UrlsBody = UrlsBody()
    locators: LocatorsBody = LocatorsBody()
    capabilities: Annotated[_Names, BeforeValidator(_several)] = []
    permits: list[PermitBody] = Field(default=[], max_length=_MOST)
    services: Annotated[list[str], Field(max_length=_MOST)] = []


class AuthenticationBody(Body):
    scheme: Scheme = "none"
    reference: str = Field(default="", max_length=500)


class EndpointBody(ThingBody):
    product: str = Field(default="", max_length=63)
    urls: EndpointUrlsBody
    auth: AuthenticationBody = AuthenticationBody()
    readiness: str = Field(pattern=r"^/[A-Za-z0-9._~%:@+,=/-]*$", max_length=2000)


class RoleBody(Body):
    exclusive: bool = False


class TopologyBody(Body):
    topology: str = Field(pattern=SLUG)
    owner: _Owner | None = None
    roles: dict[Annotated[str, Field(pattern=_NAME)], RoleBody] = Field(
        default={}, max_length=_MOST
    )
    assets: list[AssetBody] = Field(default=[], max_length=10_000)
    endpoints: list[EndpointBody] = Field(default=[], max_length=10_000)
