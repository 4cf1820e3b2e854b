"""The cases about sockets of engines can fail: by an identity, by a type, and by a connection that is missing."""

from typing import cast

import pytest

from conformance import test_connection as about_connections
from conformance import test_engine_sockets as about_engines
from conformance.harness.controller import Controller
from conformance.harness.controllerside import Contact
from conformance.harness.engine import EngineUnderTest
from conformance.harness.probe import Greeting
from conformance.harness.verdict import Violated

UUID = "engine-uuid"
USUAL = {
    "query": ("DEALER", UUID.encode()), "mux": ("ROUTER", UUID.encode()), "control": ("ROUTER", UUID.encode()),
    "task": ("ROUTER", UUID.encode()), "iopub": ("XPUB", None), "heartbeat-ping": ("SUB", None),
    "heartbeat-pong": ("DEALER", UUID.encode()),
}  # fmt: skip


class Engine:
    """What a case asks of a visible engine."""

    uuid = UUID
    dialect = "ipyparallel-9"

    def __init__(self, **changed: tuple[str, bytes | None]) -> None:
        told = USUAL | {name.replace("_", "-"): value for name, value in changed.items()}
        self.told = [Contact(channel, *rest) for channel, rest in told.items()]

    def contacts(self, *channels: str) -> list[Contact]:
        assert set(channels) <= {each.channel for each in self.told}
        return self.told


def look(engine: Engine) -> list[str]:
    """The requirements that are found broken."""
    found = []
    for case in (
        about_engines.test_every_socket_that_tells_an_identity_tells_the_uuid,
        about_engines.test_the_sockets_are_of_the_usual_types,
    ):
        try:
            case(cast(EngineUnderTest, engine))
        except Violated as violated:
            found.append(str(violated.requirement))
    return found


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (Engine(), []),
        (Engine(iopub=("PUB", None)), []),
        (Engine(task=("ROUTER", b"another")), ["registration.identity-is-uuid"]),
        (Engine(mux=("ROUTER", b"")), ["registration.identity-is-uuid"]),
        (Engine(query=("REQ", UUID.encode())), ["connection.engine-socket-types"]),
        (Engine(heartbeat_ping=("XSUB", None)), ["heart-device.device-layout"]),
    ],
)
def test_an_engine_is_found_out(engine: Engine, expected: list[str]) -> None:
    assert look(engine) == expected


@pytest.mark.parametrize(("kind", "is_usual"), [("PUB", True), ("XPUB", True), ("SUB", False), (None, True)])
def test_a_controller_is_found_out(kind: str | None, is_usual: bool) -> None:
    class Bound:
        dialect = "ipyparallel-9"

        def greeting(self, channel: str, *, end: str, requirement: str) -> Greeting:
            assert (channel, end, requirement) == ("notification", "client", "connection.addresses-from-file")
            return Greeting("tcp://127.0.0.1:1", (3, 1), "NULL", socket_type=kind)

    case = about_connections.test_the_sockets_are_of_the_usual_types
    if is_usual:
        case(cast(Controller, Bound()), "notification", "client", "")
    else:
        with pytest.raises(Violated):
            case(cast(Controller, Bound()), "notification", "client", "")
