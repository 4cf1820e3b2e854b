"""Connecting: what a client is told when it asks, which sockets there are, and what the connection files say.

Source: IPython commit a2c57acba, parallel_messages.txt, "Registration"; IPython commit 7bde2f380,
parallel_connections.txt.
"""

import pytest

from conformance.harness.case import needs, needs_system, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import kind, ok
from conformance.harness.verdict import violate
from protocol import channels
from protocol.connection import AGREED, ClientFile, EngineFile
from protocol.patterns import CONTROLLER

# -- the request -------------------------------------------------------------------------------------------------------


@requirement("connection.request-answered")
def test_a_connection_request_is_answered(controller: Controller) -> None:
    controller.client().ask("connection_request", {}).expect(ok("connection_reply"))


@requirement("connection.request-needs-no-content")
@pytest.mark.parametrize("content", [{}, {"unknown": 1}, {"engines": {"0": "x"}, "status": "error"}], ids=repr)
def test_a_connection_request_needs_no_information(controller: Controller, content: object) -> None:
    reply = controller.client().ask_unchecked("unknown keys, to be ignored", "connection_request", content)
    reply.expect(ok("connection_reply", engines=kind(dict)))


@requirement("connection.engines-listed")
def test_the_reply_lists_every_engine(controller: Controller) -> None:
    engines = [controller.engine().registered() for _ in range(3)]
    reply = controller.client().ask("connection_request", {}).expect(ok("connection_reply", engines=kind(dict)))
    for engine in engines:
        if reply.content["engines"].get(str(engine.id)) != engine.uuid:
            violate(f"the engines {reply.content['engines']!r}", f"among others {str(engine.id)!r}: {engine.uuid!r}")


@requirement("connection.only-heard-engines")
def test_an_engine_is_listed_once_its_heart_was_heard(controller: Controller) -> None:
    engine = controller.engine()
    engine.register()
    client = controller.client()
    if engine.uuid in client.engines().values():
        violate(f"{engine.uuid} is listed before its heart beat", "engines that were heard")
    engine.start_heart()
    controller.notifications.expect(
        "registration_notification", uuid=engine.uuid, requirement="registration.heard-is-registered"
    )
    if client.engines().get(str(engine.id)) != engine.uuid:
        violate(f"engine {engine.id} is not listed although its heart beats", "an engine that was heard")


@requirement("connection.no-dead-engines")
@pytest.mark.parametrize("end", ["it left", "its heart failed"])
def test_an_engine_that_is_gone_is_not_listed(controller: Controller, end: str) -> None:
    engine = controller.engine().registered()
    if end == "it left":
        engine.unregister()
    else:
        engine.stop_heart()
    controller.notifications.expect(
        "unregistration_notification", uuid=engine.uuid, requirement="notification.unregistration-published"
    )
    if engine.uuid in controller.client().engines().values():
        violate(f"engine {engine.id} is still listed", "an engine set without it")


@requirement("connection.snapshot-agrees-with-notifications")
def test_a_reply_agrees_with_all_that_was_announced(controller: Controller) -> None:
    client = controller.client()
    known = client.engines()
    for step in range(4):
        engine = controller.engine().registered()
        known[str(engine.id)] = engine.uuid
        if step % 2:
            engine.unregister()
            controller.notifications.expect(
                "unregistration_notification", uuid=engine.uuid, requirement="notification.unregistration-published"
            )
            del known[str(engine.id)]
        listed = client.engines()
        if listed != known:
            violate(f"{listed} is listed", f"{known}, as was announced")


@requirement("connection.same-socket-for-all")
def test_clients_and_engines_use_one_address_at_once(controller: Controller) -> None:
    ports = controller.client_file.registration, controller.engine_file.registration
    if ports[0] != ports[1]:
        violate(f"port {ports[0]} for clients and {ports[1]} for engines", "one port for both")
    clients = [controller.client() for _ in range(5)]
    engines = [controller.engine() for _ in range(5)]
    asked = []
    for client, engine in zip(clients, engines, strict=True):
        engine.send_registration()
        asked.append(client.send("connection_request", {}))
    for client, request in zip(clients, asked, strict=True):
        client.answer_to(request).expect(ok("connection_reply"))
    for engine in engines:
        engine.id = engine.expect(ok("registration_reply", id=kind(int))).content["id"]


@requirement("connection.anyone-may-ask")
def test_an_engine_may_ask_for_a_connection(controller: Controller) -> None:
    engine = controller.engine().registered()
    reply = engine.ask("connection_request", {}).expect(ok("connection_reply"))
    if reply.content["engines"].get(str(engine.id)) != engine.uuid:
        violate(f"the engines {reply.content['engines']!r}", f"with {engine.id}: {engine.uuid}")


@requirement("connection.anyone-may-ask")
def test_who_asks_before_registering_is_answered(controller: Controller) -> None:
    engine = controller.engine()
    engine.ask("connection_request", {}).expect(ok("connection_reply"))


# -- the sockets -------------------------------------------------------------------------------------------------------

#: Every channel that peers of a controller connect to: which end they are, and the feature that it belongs to.
ADDRESSES = [
    ("query", "client", ""),
    ("query", "engine", ""),
    ("notification", "client", ""),
    ("heartbeat-ping", "heart", ""),
    ("heartbeat-pong", "heart", ""),
    ("mux", "client", "mux"),
    ("mux", "engine", "mux"),
    ("task", "client", "tasks"),
    ("task", "engine", "tasks"),
    ("control", "client", "control"),
    ("control", "engine", "control"),
    ("iopub", "client", "iopub"),
    ("iopub", "engine", "iopub"),
    ("broadcast", "client", "broadcast"),
    ("broadcast", "engine", "broadcast"),
]


@requirement("connection.addresses-from-file", "connection.peers-connect")
@pytest.mark.parametrize(("channel", "end", "feature"), ADDRESSES, ids=[f"{each[0]} {each[1]}" for each in ADDRESSES])
def test_every_address_accepts_the_peers_it_is_for(
    controller: Controller, channel: str, end: str, feature: str
) -> None:
    if feature:
        controller.need(feature)
    greeting = controller.greeting(channel, end=end, requirement="connection.addresses-from-file")
    if greeting.is_accepted is False:
        violate(f"{greeting}", f"a socket that takes a {greeting.probed_as}", requirement="connection.peers-connect")


@requirement("connection.controller-socket-types")
@pytest.mark.parametrize(("channel", "end", "feature"), ADDRESSES, ids=[f"{each[0]} {each[1]}" for each in ADDRESSES])
def test_the_sockets_are_of_the_usual_types(controller: Controller, channel: str, end: str, feature: str) -> None:
    if feature:
        controller.need(feature)
    greeting = controller.greeting(channel, end=end, requirement="connection.addresses-from-file")
    allowed = usual_types(channel, end, controller.dialect)
    if greeting.socket_type not in (None, *allowed):
        violate(f"{greeting}", *allowed)


def usual_types(channel: str, end: str, dialect: str) -> list[str]:
    """The types of sockets that a controller binds for this end of a channel, as the table of channels has them.

    A PUB may be an XPUB.
    """
    sides = ("", "client" if end == "client" else "engine")
    found = {
        kind for each in channels.channel(channel).ends
        if each.role in CONTROLLER and each.attach == "bind" and dialect in each.dialects and each.side in sides
        for kind in (each.socket, *each.also)
    }  # fmt: skip
    return sorted(found | ({"XPUB"} if "PUB" in found else set()))


@requirement("connection.socket-names-are-aliases")
def test_a_dealer_is_served_whatever_the_target_calls_its_sockets(controller: Controller) -> None:
    greeting = controller.greeting("query", end="client")
    if greeting.socket_type not in (None, "ROUTER"):
        violate(f"{greeting}", "a ROUTER, which XREP is another name of")
    controller.client().ask("connection_request", {}).expect(ok("connection_reply"))


# -- the files ---------------------------------------------------------------------------------------------------------


@requirement("connection.client-file-keys")
def test_the_client_file_has_the_keys_that_clients_need(controller: Controller) -> None:
    expect_keys(controller, "client", ClientFile, spared=("location", "curve_serverkey"))


@requirement("connection.engine-file-keys")
def test_the_engine_file_has_the_keys_that_engines_need(controller: Controller) -> None:
    expect_keys(controller, "engine", EngineFile, spared=("ssh", "curve_serverkey"))


def expect_keys(
    controller: Controller, which: str, file: type[ClientFile | EngineFile], spared: tuple[str, ...]
) -> None:
    """A connection file must have its keys but for those that its readers can spare; ports are whole numbers."""
    values = controller.instance.on_disk()[which].values
    needed = [key for key in file.keys if key not in spared]
    missing = [key for key in needed if key not in values]
    if missing:
        violate(f"the {which} file lacks {', '.join(missing)}", f"the keys {', '.join(needed)}")
    for key in file.ports:
        if key == "broadcast":
            continue  # its shape is another requirement
        port = values[key]
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            violate(f"{key} is {port!r} in the {which} file", "a port, as an integer")


@needs("broadcast")
@requirement("connection.broadcast-ports-shape")
def test_broadcast_is_one_port_for_clients_and_a_list_for_engines(controller: Controller) -> None:
    files = controller.instance.on_disk()
    root, leaves = (files[which].values.get("broadcast") for which in ("client", "engine"))
    if isinstance(root, bool) or not isinstance(root, int):
        violate(f"broadcast is {root!r} in the client file", "one port")
    if not isinstance(leaves, list) or not leaves or not all(type(port) is int for port in leaves):
        violate(f"broadcast is {leaves!r} in the engine file", "a list of ports")


@requirement("connection.files-agree")
def test_both_files_name_the_same_key_port_and_formats(controller: Controller) -> None:
    files = controller.instance.on_disk()
    differing = [key for key in AGREED if files["client"].values.get(key) != files["engine"].values.get(key)]
    if differing:
        # The values stay unsaid: one of them may be the key.
        violate(f"client and engine file differ in {', '.join(differing)}", "the same values")


@needs_system("file modes")
@requirement("connection.file-private")
@pytest.mark.parametrize("which", ["client", "engine"])
def test_only_the_owner_may_read_a_file_with_the_key(controller: Controller, which: str) -> None:
    file = controller.instance.on_disk()[which]
    if file.values.get("key") and file.mode & 0o077:
        violate(f"the {which} file has mode {file.mode:04o}", "mode 0600, or less")
