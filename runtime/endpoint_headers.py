"""How an integration endpoint is told who calls: the headers that its authentication comes to.

Invariant: a secret is asked for when it is needed and goes into a header, never into a message.
Schemes: https://www.rfc-editor.org/rfc/rfc6750, https://www.rfc-editor.org/rfc/rfc7617
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from runtime.assets import IntegrationEndpoint
from runtime.errors import SecretMissing

_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}):[ \t]*([!-~](?:[ -~]*[!-~])?)")


def headers_of(endpoint: IntegrationEndpoint, secret: Callable[[str], str]) -> dict[str, str]:
    """The headers to ask this endpoint with; ``secret`` gives what a reference means.

    Raises what ``secret`` raises, and :class:`SecretMissing` where that is not of the scheme.
    """
    authentication = endpoint.authentication
    if authentication.scheme == "none":
        return {}
    value = secret(authentication.reference).strip()
    if not (value and value.isascii() and value.isprintable()):
        raise SecretMissing(f"the secret of {endpoint.endpoint_id} can't be sent in a header")
    if authentication.scheme == "bearer":
        return {"Authorization": f"Bearer {value}"}
    if authentication.scheme == "basic":
        if ":" not in value:
            raise SecretMissing(
                f"the secret of {endpoint.endpoint_id} has no user name: keep it as 'USER:PASSWORD'"
            )
        return {"Authorization": f"Basic {base64.b64encode(value.encode()).decode()}"}
    found = _HEADER.fullmatch(value)
    if found is None:
        raise SecretMissing(
            f"the secret of {endpoint.endpoint_id} is no header: keep it as 'NAME: VALUE'"
        )
    return {found[1]: found[2]}
