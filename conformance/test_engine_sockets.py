"""Engines: the sockets that they connect, seen in the handshake of each connection.

What type a socket has is how an engine is built, and nobody demands it; by its identity it is found. Source: IPython
commit 7bde2f380 (2011), parallel_connections.txt; measured on ipyparallel 9.2.0; rfc.zeromq.org 37/ZMTP.
"""

from conformance.harness.case import requirement
from conformance.harness.controllerside import Contact
from conformance.harness.engine import EngineUnderTest
from conformance.harness.verdict import violate
from protocol.channels import channel
from protocol.patterns import ENGINE

#: Where every engine has a socket.
NEEDED = ("query", "mux", "control", "iopub", "heartbeat-ping", "heartbeat-pong")


@requirement("registration.identity-is-uuid", "connection.engine-connects")
def test_every_socket_that_tells_an_identity_tells_the_uuid(visible_engine: EngineUnderTest) -> None:
    for contact in visible_engine.contacts(*NEEDED):
        if contact.identity is not None and contact.identity != visible_engine.uuid.encode():
            found = f"the identity {contact.identity!r:.200} on {contact.channel}"
            violate(found, f"{visible_engine.uuid!r}", requirement="registration.identity-is-uuid")


@requirement("connection.engine-socket-types", "heart-device.device-layout")
def test_the_sockets_are_of_the_usual_types(visible_engine: EngineUnderTest) -> None:
    for contact in visible_engine.contacts(*NEEDED):
        expect_type(contact, visible_engine.dialect)


def expect_type(contact: Contact, dialect: str) -> None:
    """A socket has one of the types that the table of channels has for an engine, its heart or its warden there."""
    ends = [end for end in channel(contact.channel).ends if end.role in ENGINE and dialect in end.dialects]
    allowed = sorted({kind for end in ends for kind in (end.socket, *end.also)})
    if contact.socket_type not in allowed:
        is_heart = contact.channel.startswith("heartbeat")
        slug = "heart-device.device-layout" if is_heart else "connection.engine-socket-types"
        violate(f"a {contact.socket_type} on {contact.channel}", *allowed, requirement=slug)
