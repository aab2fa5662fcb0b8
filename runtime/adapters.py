"""Which adapter reaches which kind of machine.

Invariant: a kind is one module that opens a machine from its locators, and one line in
:data:`KINDS`. Locators are details of an adapter, checked by it and never meaning: nothing above
chooses a machine by them. A machine answers with an outcome or an error that says that nothing ran.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from runtime import lxc_adapter
from runtime.assets import Locators
from runtime.errors import AdapterError
from runtime.machines import Machine, Reach

Opener = Callable[[Locators, Reach], Machine]

KINDS: Mapping[str, Opener] = MappingProxyType({lxc_adapter.KIND: lxc_adapter.opened})


def machine(
    kind: str, locators: Locators, reach: Reach, kinds: Mapping[str, Opener] = KINDS
) -> Machine:
    """The machine of this kind at these locators. Nothing is asked of it yet.

    Raises :class:`AdapterError`.
    """
    opener = kinds.get(kind)
    if opener is None:
        raise AdapterError(f"no adapter reaches a {kind!r}; there are: {', '.join(sorted(kinds))}")
    return opener(locators, reach)
