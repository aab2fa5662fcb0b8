"""Writes ``docs/settings.md`` from the settings themselves.

Invariant: the page says what the models say; a test holds the two together. Write it again with
``python -m runtime.settings_document > docs/settings.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from runtime.settings import GROUPS
from runtime.settings_shown import plain_value
from runtime.settings_sources import variable_of

INTRODUCTION: Final = """\
# Settings

<!-- Generated: python -m runtime.settings_document > docs/settings.md -->

Every URL, port, path, limit and name that the platform takes without being told is a setting. What
sets one, the first of these that does:

1. an option: `fractalops up --port 9000`. After the subcommand wins over before it;
2. a variable: `FRACTALOPS_PORT=9000`. An empty one sets nothing; lists are separated by blanks;
3. the settings file: `port = 9000`;
4. the default.

```sh
fractalops settings show --settings platform.toml
fractalops settings show openbao_role
fractalops settings check platform.toml
```

`show` prints each setting with its source: `option`, `environment:NAME`, `FILE:LINE` or `default`.
It speaks to no server: it says what `up`, `worker` and every other command would take, started here
and now. A secret is `(hidden)`, a [reference to one](secrets.md#references) is shown as it is. Last
come the principals that are no settings: `system_principal`, in whose name the platform decides by
policy and erases what is old, and `audit_principal`. [Why it is as it is](decisions/settings.md).

## The settings file

TOML, a line for each setting, named by `--settings FILE` or `FRACTALOPS_SETTINGS`. It is never
searched for: what a server does must not depend on where it is started.

```toml
data = "/srv/fractalops"
host = "0.0.0.0"
port = 8080
witness_keys = ["example.org/witness+7c9a1e2f+AX..."]
openbao = "https://bao.example.org:8200"
openbao_role = "fractalops"
openbao_file = "secret-id"
glitchtip_token = "bao://secret/fractalops/glitchtip#token"
```

Relative paths start at the folder of the file. A name that is no setting is refused, with
the nearest one that is. Refused too is a file that belongs to somebody else than you and root, one
that others may change, and one that others may read while a secret stands in it; a reference to a
secret is none. `up`, `worker` and `settings` check the whole file, other commands look up what they
need.
"""

_NAMES: Final = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret",
}


def document() -> str:
    """The page, Markdown."""
    parts = [INTRODUCTION]
    for group in GROUPS:
        parts.append(f"## {(group.__doc__ or '').strip().rstrip('.')}\n")
        parts.append("| setting | variable | type | default | meaning |\n|---|---|---|---|---|")
        parts += [_row(name, field) for name, field in group.model_fields.items()]
        parts.append("")
    return "\n".join(parts)


def _row(name: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split())
    kind = " or ".join(_kinds(field.annotation))
    return f"| `{name}` | `{variable_of(name)}` | {kind} | {_default(field)} | {meaning} |"


def _kinds(annotation: Any) -> Iterator[str]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for part in get_args(annotation):
            if part is not NoneType:
                yield from _kinds(part)
    elif origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin is Literal:
        yield from (f"`{value}`" for value in get_args(annotation))
    elif origin is tuple:
        yield "list of texts"
    else:
        yield _NAMES[annotation]


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return (field.default_factory.__doc__ or "").strip()
    value = plain_value(field.default)
    if value is None or value == []:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(document())
