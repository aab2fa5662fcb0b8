"""The errors of the runtime floor.

::

    RuntimeFloorError
    ├── SettingsError           a setting has a value it cannot have
    ├── FolderError             the data folder is in use, foreign, newer or half restored
    ├── AccessError             the credentials cannot be read or kept
    ├── OpenBaoError            OpenBao did not do what it was asked for
    │   ├── OpenBaoAway         it is not reached, too slow, or not able to answer
    │   ├── OpenBaoSealed       it answers, and is sealed
    │   ├── OpenBaoDenied       the login is refused, or its policies lack a path
    │   └── SecretMissing       nothing is at the path, or not the field
    ├── CommandRefused          it is not a command that may be sent anywhere; nothing was started
    ├── AdapterError            no adapter is registered for the kind, or its locators are wrong
    ├── MachinesFileError       the file of machines cannot be read, or says what cannot be
    ├── MachineError            the machine runs nothing now; the command was not started on it
    │   ├── MachineMissing      its host knows no such machine
    │   ├── MachineStopped      it is there and not running
    │   ├── MachineFrozen       it is there and suspended
    │   └── MachineUnreachable  its host could not be asked
    ├── UrlError                an address cannot be a URL of its kind
    ├── HttpError               a request over HTTP has no answer; ``sent`` says what is certain
    │   ├── HttpRefused         it is not one that may be sent; nothing was sent
    │   │   └── HttpCircuitOpen its server has failed too often; it is asked again later
    │   ├── HttpAway            there was no answer, or not the whole of it
    │   │   └── HttpTimeout     it took longer than it was given
    │   ├── HttpTooLarge        the answer is larger than it may be
    │   ├── HttpUnreadable      the answer is packed in a way that was not asked for, or damaged
    │   └── HttpRedirectRefused the answer leads to where this request may not go
    ├── TopologyError           a topology cannot be read, or declares what cannot be
    ├── AssetError              no one runtime asset or integration endpoint is meant
    │   ├── UnknownAsset        nothing has that id or role; the message says what there is
    │   └── AmbiguousRole       several assets have the role; the message lists them
    └── ProcessError            a local program did not do what it was started for
        ├── ProgramMissing      it is not on this machine, or may not be executed
        ├── ProcessTimeout      it ran longer than it was given; its whole group was ended
        └── ProcessFailed       it ended with a status other than 0
"""

from __future__ import annotations

from collections.abc import Sequence


class RuntimeFloorError(Exception):
    """Anything this floor refuses or cannot do; the message says what to do next."""


class SettingsError(RuntimeFloorError):
    """A setting has a value it cannot have; the message names it."""


class FolderError(RuntimeFloorError):
    """The data folder is in use, foreign, of a newer version or half restored."""


class AccessError(RuntimeFloorError):
    """The credentials cannot be read or kept."""


class OpenBaoError(RuntimeFloorError):
    """OpenBao did not do what it was asked for; no message holds a secret."""


class OpenBaoAway(OpenBaoError):
    """It is not reached, too slow, or not able to answer; later it may be."""


class OpenBaoSealed(OpenBaoError):
    """It answers, and is sealed until its operators unseal it."""


class OpenBaoDenied(OpenBaoError):
    """The login is refused, or its policies lack a path."""


class SecretMissing(OpenBaoError):
    """Nothing is at the path, or not the field that the reference names."""


class CommandRefused(RuntimeFloorError):
    """What was given is not a command that may be sent anywhere; nothing was started."""


class AdapterError(RuntimeFloorError):
    """No adapter is registered for the kind of a machine, or its locators are not of that kind."""


class MachinesFileError(RuntimeFloorError):
    """The file of machines cannot be read, or says what cannot be; ``faults`` is everything wrong
    with it, each with its file, line and path."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class MachineError(RuntimeFloorError):
    """The machine runs nothing now. The command was certainly not started on it."""


class MachineMissing(MachineError):
    """The host knows no machine of that name."""


class MachineStopped(MachineError):
    """The machine is there and not running."""


class MachineFrozen(MachineError):
    """The machine is there and suspended: whatever was started would wait until it is thawed."""


class MachineUnreachable(MachineError):
    """The host of the machine could not be asked; the message has the transport's own words."""


class UrlError(RuntimeFloorError):
    """An address cannot be a URL of its kind; the message says why, without the address."""


class HttpError(RuntimeFloorError):
    """A request over HTTP has no answer that can be used. No message holds a query, a header or a
    body. While ``sent`` is false, certainly nothing of the request has reached its server; else it
    may have been carried out, and whoever can't ask it twice doesn't know."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class HttpRefused(HttpError):
    """The address or the request is not one that may be sent; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class HttpCircuitOpen(HttpRefused):
    """The server has failed too often: it is asked again in ``seconds``; nothing was sent."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class HttpAway(HttpError):
    """There was no answer, or not the whole of it; ``reached`` says whether there was a connection,
    ``kind`` what failed, in one word."""

    def __init__(self, message: str, *, sent: bool, kind: str = "", reached: bool = True) -> None:
        super().__init__(message, sent=sent)
        self.kind = kind
        self.reached = reached


class HttpTimeout(HttpAway):
    """It took longer than it was given."""


class HttpTooLarge(HttpError):
    """The answer is larger than ``limit`` bytes, as it says itself or once unpacked."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message, sent=True)
        self.limit = limit


class HttpUnreadable(HttpError):
    """The answer is packed in a way that was not asked for, or damaged."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=True)


class HttpRedirectRefused(HttpError):
    """The server answered with an address to which this request may not go; it was not asked."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, sent=True)
        self.status = status


class TopologyError(RuntimeFloorError):
    """A topology cannot be read, or declares what cannot be; ``faults`` is everything wrong with
    it, each with its line and path."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class AssetError(RuntimeFloorError):
    """No one runtime asset or integration endpoint is meant."""


class UnknownAsset(AssetError):
    """Nothing has that id or role; the message says what there is."""


class AmbiguousRole(AssetError):
    """Several runtime assets have the role; ``candidates`` are their asset ids."""

    def __init__(self, message: str, candidates: Sequence[str]) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


class ProcessError(RuntimeFloorError):
    """A local program did not do what it was started for."""


class ProgramMissing(ProcessError):
    """The program is not on this machine, or may not be executed."""

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program} could not be started: {reason}. Install it or put it on PATH.")
        self.program = program


class ProcessTimeout(ProcessError):
    """The program ran longer than it was given; it and everything it started was ended."""

    def __init__(
        self, command: Sequence[str], seconds: float, stdout: bytes, stderr: bytes
    ) -> None:
        super().__init__(f"{command[0]} was ended: it ran longer than {seconds:g} s")
        self.command = tuple(command)
        self.seconds = seconds
        self.stdout = stdout
        self.stderr = stderr


class ProcessFailed(ProcessError):
    """The program ended with a status other than 0."""

    def __init__(self, command: Sequence[str], returncode: int, stderr: bytes) -> None:
        last = stderr.decode(errors="replace").strip().splitlines()[-1:]
        said = f": {last[0]}" if last else ""
        how = (
            f"was killed by signal {-returncode}" if returncode < 0 else f"ended with {returncode}"
        )
        super().__init__(f"{command[0]} {how}{said}")
        self.command = tuple(command)
        self.returncode = returncode
        self.stderr = stderr
