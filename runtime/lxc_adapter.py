"""The kind ``lxc``: Linux containers, by name on a host or by number in a Proxmox VE.

Invariant: locators are checked here, before anything is asked of anybody; none of them reaches a
program's arguments in a form that it could take for something else.
"""

from __future__ import annotations

import re

from runtime.assets import Locators
from runtime.errors import AdapterError
from runtime.lxc_container import LxcContainer
from runtime.machines import Machine, Reach

KIND = "lxc"

_STRANGE = ("cluster", "namespace", "workload")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def opened(locators: Locators, reach: Reach) -> Machine:
    """The container that ``container`` names on the host ``node``, which is this machine where it
    is empty; or the one that ``vmid`` numbers in the Proxmox VE which has the node. Raises
    :class:`AdapterError`."""
    name, node, vmid = locators.container, locators.node, locators.vmid
    strange = [key for key in _STRANGE if getattr(locators, key)]
    if strange:
        raise AdapterError(f"a container has no {' and no '.join(strange)}")
    if bool(name) == bool(vmid):
        raise AdapterError(
            "a container is found by its name as container, or by its number as vmid: give one"
        )
    if vmid:
        reach.proxmox_of(node)
        raise AdapterError("containers of a Proxmox VE cannot be reached yet")
    if not _NAME.fullmatch(name):
        raise AdapterError(f"{name!r} is not the name of a container")
    return LxcContainer(reach.transport(node), name, reach.host(node).lxc_path, reach.variables)
