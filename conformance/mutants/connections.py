"""Mistakes of a Hub about connections: what its files and its replies say, and of which engines."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from conformance.mutants.changes import told
from conformance.mutants.mutant import Mutant
from conformance.mutants.refusals import Refusing
from protocol.connection import ClientFile, EngineFile
from protocol.roles.base import Arrived, Effect, Event, Send
from protocol.wire import Message


class ConnectsNobody(Refusing):
    """Everything that a client needs stands in its file."""

    breaks = ("connection.request-answered",)

    def refuses(self, message: Message) -> bool:
        """Connections."""
        return message.msg_type == "connection_request"


class WantsANameToConnect(Refusing):
    """Who connects should say who it is."""

    breaks = ("connection.request-needs-no-content",)

    def refuses(self, message: Message) -> bool:
        """Connections with unknown words, or without words after the first."""
        return message.msg_type == "connection_request" and bool(message.content)


class ListsOneEngine(Mutant):
    """One engine is enough to begin with."""

    breaks = ("connection.engines-listed",)
    says = (told("connection_reply", lambda c: c | {"engines": dict(list(c["engines"].items())[:1])}),)


class ListsPendingEngines(Mutant):
    """Who has registered is registered."""

    breaks = ("connection.only-heard-engines",)

    def prepare(self) -> None:
        """List all."""
        engines = self.role.engines
        engines.live = lambda: iter(engines.by_id.values())


class NeverForgetsAnEngine(Mutant):
    """It may come back."""

    breaks = ("connection.no-dead-engines",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Everybody who was ever listed."""
        if isinstance(effect, Send) and effect.message.msg_type == "connection_reply":
            engines = self.memory.setdefault("engines", {})
            engines |= effect.message.content["engines"]
            return (Send("query", effect.message.replace(content={"status": "ok", "engines": dict(engines)})),)
        return (effect,)


class ListsAnEngineTooLate(Mutant):
    """The list is made anew every second time."""

    breaks = ("connection.snapshot-agrees-with-notifications",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The list of the time before."""
        if isinstance(effect, Send) and effect.message.msg_type == "connection_reply":
            before, self.memory["list"] = self.memory.get("list", {}), effect.message.content["engines"]
            return (Send("query", effect.message.replace(content={"status": "ok", "engines": before})),)
        return (effect,)


class ServesOneKindOfPeer(Mutant):
    """Who is an engine is no client."""

    breaks = ("connection.same-socket-for-all", "connection.anyone-may-ask")

    def hear(self, event: Event) -> Sequence[Event]:
        """Whoever came first on this identity's socket asks for one kind of thing."""
        if isinstance(event, Arrived) and event.socket == "query" and event.message.msg_type == "registration_request":
            self.memory["an engine came"] = True
        if isinstance(event, Arrived) and event.message.msg_type == "connection_request" and self.memory:
            return ()
        return (event,)


class ServesClientsOnly(Mutant):
    """Engines have nothing to ask."""

    breaks = ("connection.anyone-may-ask",)

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing but a registration from who has a name of its own."""
        if isinstance(event, Arrived) and event.socket == "query" and event.message.msg_type == "connection_request":
            return () if event.message.identities[0][:1] != b"\0" else (event,)
        return (event,)


class LeavesOutTheTaskScheme(Mutant):
    """Clients need not know how tasks are placed."""

    breaks = ("connection.client-file-keys",)

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """One key less for clients."""
        return {key: value for key, value in content.items() if key != "task_scheme"}


class WritesPortsAsText(Mutant):
    """An address is a text."""

    breaks = ("connection.engine-file-keys",)

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ports as texts."""
        return {key: str(value) if isinstance(value, int) else value for key, value in content.items()}


class GivesEnginesOnePort(Mutant):
    """One port is as good as a list of one."""

    breaks = ("connection.broadcast-ports-shape",)

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """A number in the place of the list."""
        ports = content["broadcast"]
        return {**content, "broadcast": ports[0] if isinstance(ports, list) else ports}


class GivesClientsAKeyOfTheirOwn(Mutant):
    """Clients should not be able to speak for engines."""

    breaks = ("connection.files-agree",)

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another key for clients."""
        return {**content, "key": "clients"} if which == "client" else content


class NamesAPortOfNobody(Mutant):
    """The port was free when the file was written."""

    breaks = ("connection.addresses-from-file",)

    @classmethod
    def tells(cls, client: ClientFile, engine: EngineFile) -> tuple[ClientFile, EngineFile]:
        """A port for requests at which nobody listens."""
        return replace(client, mux=1), engine


class MixesPortsUp(Mutant):
    """One port is as good as another."""

    breaks = ("connection.peers-connect", "connection.controller-socket-types", "mux.socket-types")

    @classmethod
    def tells(cls, client: ClientFile, engine: EngineFile) -> tuple[ClientFile, EngineFile]:
        """The port of output in the place of that for requests."""
        return replace(client, mux=client.iopub), engine


class LeavesItsFiles(Mutant):
    """The next controller will write them again."""

    breaks = ("connection.file-removed-at-exit",)
    leaves_files = True
