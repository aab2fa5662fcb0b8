"""Projects in GlitchTip, made through its API, and the DSN that its clients get.

Invariant: asking again makes nothing twice: a project that is there is used. The token goes to the
configured server alone, and a DSN is believed only if it names a key.
Source: https://app.glitchtip.com/api/docs
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ingest.errors import HistoryUnreadable
from ingest.patience import Peer, checked
from ingest.posthog_request import object_of, text_of
from ingest.sentry_envelope import dsn_key


class GlitchTipProjects:
    """The projects of one team. ``connect`` gives the server, ``keep`` gets slug and DSN."""

    def __init__(
        self,
        connect: Callable[[], Peer],
        organisation: str,
        team: str,
        keep: Callable[[str, str], None],
    ) -> None:
        self._connect, self._organisation, self._team = connect, organisation, team
        self._keep = keep

    def dsn_of(self, slug: str) -> str:
        """The DSN of the project of this name, which is made where it is missing.

        Raises :class:`PeerRefused`, :class:`PeerUnavailable` and :class:`HistoryUnreadable`.
        """
        with self._connect() as peer:
            found = self._keys(peer, slug)
            if found is None:
                found = self._keys(peer, self._make(peer, slug))
        for key in found if isinstance(found, list) else ():
            dsn = text_of(object_of(object_of(key).get("dsn")), "public")
            if dsn_key(dsn):
                self._keep(slug, dsn)
                return dsn
        raise HistoryUnreadable(f"GlitchTip's project {slug} has no key with a DSN; make one there")

    def _keys(self, peer: Peer, slug: str) -> Any:
        organisation = quote(self._organisation, safe="")
        answer = peer.send("GET", f"/api/0/projects/{organisation}/{quote(slug, safe='')}/keys/")
        return None if answer.status == 404 else checked(answer, f"the keys of {slug} in GlitchTip")

    def _make(self, peer: Peer, slug: str) -> str:
        """The slug under which GlitchTip made the project."""
        organisation, team = quote(self._organisation, safe=""), quote(self._team, safe="")
        path = f"/api/0/teams/{organisation}/{team}/projects/"
        body = json.dumps({"name": slug, "slug": slug, "platform": "other"}).encode()
        made = checked(
            peer.send("POST", path, content=body),
            f"making {slug} in GlitchTip's organisation {self._organisation}, team {self._team}",
        )
        return text_of(object_of(made), "slug") or slug
