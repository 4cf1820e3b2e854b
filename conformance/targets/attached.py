"""A controller or kernel that runs already: the kit knows its files, and neither starts nor ends anything."""

import json
import socket
from pathlib import Path
from typing import Final, TypeVar

from conformance.files import FileOnDisk, look_at
from conformance.targets.checking import expand
from conformance.targets.descriptor import Target
from conformance.targets.errors import TargetUnusable
from conformance.targets.process import ASSUMED, detect_version
from protocol.connection import ClientFile, ConnectionFile, ConnectionFileError, EngineFile, KernelFile, parse

#: Seconds in which what listens must accept a connection.
_PATIENCE: Final = 2.0

F = TypeVar("F", bound=ConnectionFile)


class Attached:
    """Something that runs, seen from outside; the interface of `process.Started`, as far as nothing is done to it."""

    #: Nobody outside knows.
    status: int | None = None

    def __init__(self, target: Target, address: str) -> None:
        self.target = target
        self.version = detect_version(target)
        self._address = address

    @property
    def is_running(self) -> bool:
        """Whether something listens where it did."""
        transport, _, place = self._address.partition("://")
        if transport != "tcp":
            return Path(place).exists()
        host, _, port = place.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        except OSError:
            return False
        return True

    def output(self) -> tuple[str, str]:
        """Nothing: what it prints goes elsewhere."""
        return "", ""

    def processes(self) -> list[int]:
        """None that the kit may know."""
        return []

    def delays(self) -> dict[int, int]:
        """Nothing is known of its processes."""
        return {}

    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so."""
        return TargetUnusable(f"target {self.target.name}: {sentence}")

    def expect_alive(self) -> None:
        """Raise TargetUnusable if nothing listens any more."""
        if not self.is_running:
            raise self.unusable(f"nothing listens at {self._address}: it has ended, or its files are old")

    def late(self, what: str) -> TargetUnusable:
        """The error that it did not answer in time."""
        return self.unusable(f"did not answer within {self.target.timing.start_deadline_s:g} s: {what}")

    def stop(self) -> None:
        """Nothing: it belongs to somebody else."""


class AttachedController(Attached):
    """A running controller, by its two connection files. Raises TargetUnusable if they cannot be used."""

    def __init__(self, target: Target) -> None:
        assert target.controller is not None
        self.client_path = _path(target, target.controller.client_file)
        self.engine_path = _path(target, target.controller.engine_file)
        self.client = _read(target, self.client_path, ClientFile)
        self.engine = _read(target, self.engine_path, EngineFile)
        super().__init__(target, self.client.address("registration"))
        self.expect_alive()

    def on_disk(self) -> dict[str, FileOnDisk]:
        """Its connection files ("client", "engine") as they are now; missing ones are left out."""
        found = {"client": look_at(self.client_path), "engine": look_at(self.engine_path)}
        return {which: file for which, file in found.items() if file is not None}


class AttachedKernel(Attached):
    """A running kernel, by its connection file. Raises TargetUnusable if that cannot be used."""

    def __init__(self, target: Target) -> None:
        assert target.kernel is not None
        self.path = _path(target, target.kernel.kernel_file)
        self.file = _read(target, self.path, KernelFile)
        super().__init__(target, self.file.address("shell_port"))
        self.expect_alive()


def _path(target: Target, text: str) -> Path:
    """Where a file is: beside the descriptor, if nothing else is said."""
    here = Path(target.file).parent
    return here / Path(expand(text, {"here": str(here)})).expanduser()


def _read(target: Target, path: Path, kind: type[F]) -> F:
    try:
        content = path.read_bytes()
        values = json.loads(content)
        if isinstance(values, dict):
            assumed = {key: value for key, value in ASSUMED.items() if key in kind.keys and kind is not KernelFile}
            content = json.dumps(assumed | values).encode()
        return parse(content, kind, name=str(path))
    except OSError as error:
        raise TargetUnusable(f"target {target.name}: {path}: {error.strerror}; does it run?") from None
    except ValueError as error:
        raise TargetUnusable(f"target {target.name}: {path}: {error}") from None
    except ConnectionFileError as error:
        raise TargetUnusable(f"target {target.name}: {error}") from None
