"""Connection files: how a peer learns where the sockets are and with which key to sign.

A controller writes two files, one for clients and one for engines, and a kernel has one of its own. Here they are bytes
to values and back; reading them from disk, and looking at their mode, is `conformance.files`.

* `ClientFile` and `EngineFile` have 16 keys each. Both files of one controller agree on five of them (`AGREED`); the
  interface may differ, since clients and engines may live in different networks.
* An address is the interface, a separator and the port: `tcp://127.0.0.1:5555`, but `ipc:///tmp/run/hub-5555`.
* Keys that nobody knows are kept, so that a file survives being read and written by us.
* Every problem of a file is reported at once. The key never appears in a text, neither of an error nor of a value.

Source: measured on ipyparallel 9.2.0; jupyter_client docs, "Connection files"; the releases IPython 0.11 to 0.13 for
`HistoricalFile`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.errors import LocalProtocolError, Problem, RemoteProtocolError
from protocol.wire import UNREADABLE, Codec, Packer, ReplayMemory, signer

Port = Annotated[int, Meta(ge=1, le=65535)]
PortOrAny = Annotated[int, Meta(ge=0, le=65535)]
Z85: Final = r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$"
CurveKey = Annotated[str, Meta(pattern=Z85)]

#: What the client's and the engine's file of one controller must agree on.
AGREED: Final = ("key", "registration", "pack", "unpack", "signature_scheme")

#: Keys whose value is never shown.
SECRET: Final = frozenset({"key", "exec_key", "curve_secretkey"})

#: Interfaces that one can listen on and not connect to.
WILDCARDS: Final = frozenset({"0.0.0.0", "*"})  # noqa: S104


class ConnectionFileError(RemoteProtocolError):
    """A connection file cannot be used; `name` says which, `problems` why. No text of it contains a key."""

    def __init__(self, name: str, *problems: Problem) -> None:
        self.name = name
        super().__init__(*problems)

    @classmethod
    def file(
        cls, name: object, expected: str, found: str, rule: str = "connection.half-written-file-waits"
    ) -> "ConnectionFileError":
        """The error for something that is wrong with the file as a whole."""
        return cls(str(name), Problem("message", rule, expected, found))

    def __str__(self) -> str:
        # A file has no frames, so only the path inside it is told.
        parts = (
            f"{problem.path + ': ' if problem.path else ''}expected {problem.expected}, found {problem.found}"
            for problem in self.problems
        )
        return f"{self.name}: {'; '.join(parts)}"


class ConnectionFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every kind of connection file. `keys` are the known keys, in the order of the real writers.

    `extra` holds the keys that nobody knows, with their values.
    """

    kind: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    #: The requirement that says which keys and types there are.
    rule: ClassVar[str]
    extra: dict[str, Any] = {}

    def codec(self, replay: ReplayMemory | None = None) -> Codec:
        """The codec that peers of this file must use."""
        raise NotImplementedError

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys that are each right by themselves."""
        return iter(())

    def __repr__(self) -> str:
        # Representations end up in logs and reports.
        shown = (f"{name}={'<hidden>' if secret else value!r}" for name, value, secret in self._fields())
        return f"{type(self).__name__}({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, "<hidden>" if secret else value) for name, value, secret in self._fields()]

    def _fields(self) -> Iterator[tuple[str, object, bool]]:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "extra":
                # Nobody knows what an unknown key holds; its name is enough.
                value = sorted(value)
            if value is not UNSET:
                yield name, value, name in SECRET and bool(value)


class ClusterFile(ConnectionFile, frozen=True, kw_only=True, omit_defaults=False):
    """What the two files of a controller have in common."""

    ssh: str
    interface: str
    registration: Port
    control: Port
    mux: Port
    task: Port
    iopub: Port
    key: str
    curve_serverkey: CurveKey | None
    location: str
    pack: str
    unpack: str
    signature_scheme: str

    #: Keys whose values are ports.
    ports: ClassVar[tuple[str, ...]] = ("registration", "control", "mux", "task", "iopub", "broadcast")

    def addresses(self, key: str, *, here: Collection[str] = ()) -> tuple[str, ...]:
        """The addresses behind one key; an engine's `broadcast` has one per leaf of the tree.

        `here` are the names and addresses of this machine, for files whose interface is a wildcard (see `reachable`).
        Raises KeyError for a key that is no address in this kind of file.
        """
        if key not in self.ports:
            raise KeyError(f"{key!r} is no address in the {self.kind} file; those are {', '.join(self.ports)}")
        value = getattr(self, key)
        interface = reachable(self.interface, self.location, here)
        return tuple(join(interface, port) for port in (value if isinstance(value, list) else [value]))

    def address(self, key: str, *, here: Collection[str] = ()) -> str:
        """The only address behind one key. Raises KeyError as `addresses`, and if there are several."""
        found = self.addresses(key, here=here)
        if len(found) != 1:
            raise KeyError(f"{key!r} has {len(found)} addresses in the {self.kind} file")
        return found[0]

    def codec(self, replay: ReplayMemory | None = None) -> Codec:
        """The codec that peers of this file must use."""
        return Codec(self.key.encode(), scheme=self.signature_scheme, packer=self.pack, replay=replay)

    def problems(self) -> Iterator[Problem]:
        """Interface, packers, scheme, and ports that two channels claim."""
        yield from _interface_problems(self.interface)
        yield from _packer_problems(self.pack, self.unpack)
        yield from _scheme_problems(self.signature_scheme)
        yield from _port_problems(self, self.ports)


class ClientFile(ClusterFile, frozen=True, kw_only=True):
    """`ipcontroller-client.json`: 16 keys. `broadcast` is the port of the tree's root."""

    task_scheme: str
    notification: Port
    broadcast: Port

    kind: ClassVar[str] = "client"
    rule: ClassVar[str] = "connection.client-file-keys"
    keys: ClassVar[tuple[str, ...]] = (
        *("ssh", "interface", "registration", "control", "mux", "task", "task_scheme", "iopub", "notification"),
        *("broadcast", "key", "curve_serverkey", "location", "pack", "unpack", "signature_scheme"),
    )
    ports: ClassVar[tuple[str, ...]] = (*ClusterFile.ports, "notification")


class EngineFile(ClusterFile, frozen=True, kw_only=True):
    """`ipcontroller-engine.json`: 16 keys. `broadcast` lists the tree's leaves; an engine takes one by its id."""

    hb_ping: Port
    hb_pong: Port
    broadcast: Annotated[list[Port], Meta(min_length=1)]

    kind: ClassVar[str] = "engine"
    rule: ClassVar[str] = "connection.engine-file-keys"
    keys: ClassVar[tuple[str, ...]] = (
        *("ssh", "interface", "registration", "control", "mux", "task", "iopub", "hb_ping", "hb_pong", "broadcast"),
        *("key", "curve_serverkey", "location", "pack", "unpack", "signature_scheme"),
    )
    ports: ClassVar[tuple[str, ...]] = (*ClusterFile.ports, "hb_ping", "hb_pong")


class HistoricalFile(ConnectionFile, frozen=True, kw_only=True):
    """The file of IPython 0.11 to 0.13: where to register, and the key. All else comes in the replies there.

    `pack` and `unpack` exist since 0.13. Signatures are HMAC-MD5 over three dictionaries.
    """

    exec_key: str
    url: str
    ssh: str = ""
    location: str = ""
    pack: str = "json"
    unpack: str = "json"

    kind: ClassVar[str] = "IPython 0.1x"
    rule: ClassVar[str] = "connection.historical-file-keys"
    keys: ClassVar[tuple[str, ...]] = ("exec_key", "url", "ssh", "location", "pack", "unpack")

    def codec(self, replay: ReplayMemory | None = None) -> Codec:
        """The codec that peers of this file must use."""
        key = self.exec_key.encode()
        return Codec(key, scheme="hmac-md5", packer=self.pack, metadata=False, replay=replay)

    def problems(self) -> Iterator[Problem]:
        """The packers and the form of the address."""
        yield from _packer_problems(self.pack, self.unpack)
        if not self.url.startswith(("tcp://", "ipc://")):
            yield _problem("url", "an address tcp://... or ipc://...", repr(self.url), self.rule)


class KernelFile(ConnectionFile, frozen=True, kw_only=True):
    """The connection file of a plain kernel.

    Port 0 asks the kernel to choose one and to write the file back. `control_port`, `transport` and
    `signature_scheme` exist since IPython 1.0; before, there was tcp and HMAC-MD5 only.
    """

    shell_port: PortOrAny
    iopub_port: PortOrAny
    stdin_port: PortOrAny
    control_port: PortOrAny | UnsetType = UNSET
    hb_port: PortOrAny
    ip: str
    key: str
    transport: Literal["tcp", "ipc"] | UnsetType = UNSET
    signature_scheme: str | UnsetType = UNSET
    kernel_name: str | UnsetType = UNSET
    curve_publickey: CurveKey | UnsetType = UNSET
    curve_secretkey: CurveKey | UnsetType = UNSET

    kind: ClassVar[str] = "kernel"
    rule: ClassVar[str] = "kernel.connection-file-keys"
    ports: ClassVar[tuple[str, ...]] = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
    keys: ClassVar[tuple[str, ...]] = (
        *ports,
        *("ip", "key", "transport", "signature_scheme", "kernel_name", "curve_publickey", "curve_secretkey"),
    )

    def address(self, key: str) -> str:
        """`transport://ip:port` (tcp) or `ipc://ip-port`, for one of `ports`.

        Raises KeyError if the file has no such port, or if the kernel has still to choose it.
        """
        port = getattr(self, key, UNSET) if key in self.ports else UNSET
        if port is UNSET or port == 0:
            raise KeyError(f"the kernel file has no port for {key!r}")
        transport = "tcp" if self.transport is UNSET else self.transport
        return join(f"{transport}://{self.ip}", port)

    def codec(self, replay: ReplayMemory | None = None) -> Codec:
        """The codec that peers of this file must use; HMAC-SHA256 if the file names no scheme, as today's peers do."""
        scheme = "hmac-sha256" if self.signature_scheme is UNSET else self.signature_scheme
        return Codec(self.key.encode(), scheme=scheme, replay=replay)

    def problems(self) -> Iterator[Problem]:
        """Scheme, ports claimed twice, and half a pair of CURVE keys."""
        if self.signature_scheme is not UNSET:
            yield from _scheme_problems(self.signature_scheme)
        yield from _port_problems(self, self.ports)
        if (self.curve_publickey is UNSET) != (self.curve_secretkey is UNSET):
            missing = "curve_publickey" if self.curve_publickey is UNSET else "curve_secretkey"
            yield _problem(missing, "both CURVE keys or neither", "one of them", self.rule)


F = TypeVar("F", bound=ConnectionFile)


def parse(data: bytes, kind: type[F], *, name: str = "connection file") -> F:
    """The connection file in these bytes.

    `name` stands in the error text. Raises ConnectionFileError with every problem of the file, each with its path.
    """
    values = _read_object(data, name)
    known, problems = _read_fields(values, kind)
    if problems:
        raise ConnectionFileError(name, *problems)
    file = kind(**known, extra={key: value for key, value in values.items() if key not in kind.keys})
    problems = list(file.problems())
    if problems:
        raise ConnectionFileError(name, *problems)
    return file


def render(file: ConnectionFile) -> bytes:
    """The bytes of a connection file, indented as the real writers do; unknown keys come last."""
    values = {key: getattr(file, key) for key in file.keys if getattr(file, key) is not UNSET}
    return msgspec.json.format(msgspec.json.encode(values | file.extra), indent=2)


def check_pair(client: ClientFile, engine: EngineFile, *, name: str = "the client's and the engine's file") -> None:
    """Check that both files are of one controller.

    Raises ConnectionFileError, with one problem for each of the five keys on which they disagree.
    """
    problems = []
    for key in AGREED:
        ours, theirs = getattr(client, key), getattr(engine, key)
        if ours != theirs:
            what = "two different ones" if key in SECRET else f"{ours!r} for clients and {theirs!r} for engines"
            problems.append(_problem(key, "the same value in both files", what, "connection.files-agree"))
    if problems:
        raise ConnectionFileError(name, *problems)


def join(interface: str, port: int) -> str:
    """One address: `tcp://127.0.0.1` and 5555 make `tcp://127.0.0.1:5555`; for ipc a `-` stands before the port."""
    return f"{interface}{'-' if interface.startswith('ipc://') else ':'}{port}"


def reachable(interface: str, location: str, here: Collection[str] = ()) -> str:
    """The interface to connect to, when the one in the file may be a wildcard to listen on.

    A wildcard is replaced by the location of the controller, or by loopback when there is none or when it is one of
    the names and addresses in `here`.
    """
    transport, _, host = interface.partition("://")
    if transport != "tcp" or host not in WILDCARDS:
        return interface
    return f"tcp://{'127.0.0.1' if not location or location in here else location}"


def _read_object(data: bytes, name: str) -> dict[str, Any]:
    if not data.strip():
        raise ConnectionFileError.file(name, "a JSON object", "an empty file (its writer has not finished)")
    try:
        values = msgspec.json.decode(data)
    except UNREADABLE as error:
        # The library's message tells a position or a kind, never the text itself.
        truncated = "truncated" in str(error)
        what = "the beginning of one (half written)" if truncated else f"{len(data)} bytes that are none ({error})"
        raise ConnectionFileError.file(name, "a JSON object", what) from None
    if not isinstance(values, dict):
        raise ConnectionFileError.file(name, "a JSON object", f"a JSON {type(values).__name__}")
    return values


def _read_fields(values: Mapping[str, Any], kind: type[ConnectionFile]) -> tuple[dict[str, Any], list[Problem]]:
    # Key by key, because the decoder of a whole struct stops at its first problem.
    known: dict[str, Any] = {}
    problems: list[Problem] = []
    for field in msgspec.structs.fields(kind):
        key = field.name
        if key not in kind.keys:
            continue
        if key not in values:
            if field.required:
                problems.append(_problem(key, "this key", "nothing", kind.rule))
            continue
        try:
            known[key] = msgspec.convert(values[key], field.type)
        except msgspec.ValidationError as error:
            found = type(values[key]).__name__ if key in SECRET else repr(values[key])[:80]
            rule = "connection.broadcast-ports-shape" if key == "broadcast" else kind.rule
            problems.append(_problem(key, _wanted(field.type), found, rule, _deeper(key, str(error))))
    return known, problems


def _deeper(key: str, message: str) -> str:
    # msgspec names the place below the converted value as "... - at `$[1]`".
    _, _, inner = message.partition(" - at `$")
    return f"$.{key}{inner.rstrip('`')}"


def _wanted(kind: Any) -> str:
    wanted = {
        Port: "a port, 1 to 65535",
        PortOrAny: "a port, or 0 to let the kernel choose",
        PortOrAny | UnsetType: "a port, or 0 to let the kernel choose",
        CurveKey | None: "null or a Z85 key of 40 characters",
        CurveKey | UnsetType: "a Z85 key of 40 characters",
        Annotated[list[Port], Meta(min_length=1)]: "a list of ports, 1 to 65535",
        Literal["tcp", "ipc"] | UnsetType: "'tcp' or 'ipc'",
    }
    return wanted.get(kind, "a string")


def _problem(key: str, expected: str, found: str, rule: str, path: str = "") -> Problem:
    return Problem("message", rule, expected, found, path or f"$.{key}")


def _interface_problems(interface: str) -> Iterator[Problem]:
    transport, separator, host = interface.partition("://")
    if transport not in ("tcp", "ipc") or not separator or not host:
        yield _problem(
            "interface", "tcp://<address> or ipc://<path>", repr(interface), "connection.addresses-from-file"
        )


def _packer_problems(pack: str, unpack: str) -> Iterator[Problem]:
    formats = []
    for key, name in (("pack", pack), ("unpack", unpack)):
        try:
            formats.append(Packer(name).name.removeprefix("or"))
        except LocalProtocolError as error:
            for problem in error.problems:
                yield _problem(key, problem.expected, problem.found, problem.rule)
    if len(formats) == 2 and formats[0] != formats[1]:
        yield _problem("unpack", f"the format that pack names ({pack})", repr(unpack), "wire.pack-unpack-inverse")


def _scheme_problems(scheme: str) -> Iterator[Problem]:
    try:
        signer(b"", scheme)
    except LocalProtocolError as error:
        for problem in error.problems:
            yield _problem("signature_scheme", problem.expected, problem.found, problem.rule)


def _port_problems(file: ConnectionFile, keys: Collection[str]) -> Iterator[Problem]:
    owners: dict[int, str] = {}
    for key in keys:
        value = getattr(file, key)
        for port in value if isinstance(value, list) else [value]:
            if port is UNSET or port == 0:
                continue
            if port in owners:
                yield _problem(key, "a port of its own", f"{port}, which {owners[port]} has too", file.rule)
            owners.setdefault(port, key)
