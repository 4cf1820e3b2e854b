"""Clients: how one connects, and what it makes of the file that tells it where.

Source: IPython commit a2c57acba, parallel_messages.txt, "Client"; measured on ipyparallel 9.2.0.
"""

import pytest

from conformance.drivers.lines import Outcome
from conformance.harness.case import connection_file, needs, requirement
from conformance.harness.client import ENGINES, ClientUnderTest, told
from conformance.harness.verdict import violate
from protocol.connection import render

OK = Outcome(status="ok")


def connected(client: ClientUnderTest) -> None:
    """Let a client connect, which it must, and come to where it hears notifications."""
    client.success(client.connect())
    client.until_subscribed()


@requirement("client.learns-engines")
def test_a_client_takes_the_engines_from_the_reply(new_client: ClientUnderTest) -> None:
    connected(new_client)
    new_client.expect_engines(*ENGINES)


@requirement("client.follows-notifications", "client.learns-engines")
def test_a_client_may_come_before_any_engine(new_client: ClientUnderTest) -> None:
    new_client.engines.clear()
    new_client.success(new_client.connect(), requirement="client.learns-engines")
    new_client.until_subscribed()
    new_client.expect_engines(requirement="client.learns-engines")
    new_client.add_engine(0)
    new_client.expect_engines(0)


@requirement("connection.subscribe-before-asking")
def test_a_client_subscribes_before_the_engines_are_told(new_client: ClientUnderTest) -> None:
    new_client.is_hub_awake = False
    connecting = new_client.connect(timeout=3 * new_client.timing.reply_deadline_s)
    new_client.arrivals("query", 1)
    notification = new_client.world.sockets["notification"]
    # Who subscribes when the reply has come misses what is published in between: for good, as nothing says it again.
    started, limit = new_client.world.now, new_client.timing.reply_deadline
    is_subscribed = new_client.world.run_until(lambda: bool(notification.subscriptions), started + limit)
    new_client.expect_waited(started, limit)
    new_client.is_hub_awake = True
    for seen in new_client.arrived["query"]:
        new_client.answer_connection(seen)
    new_client.success(connecting)
    if not is_subscribed:
        violate("it waits for the connection_reply before it subscribes", "it subscribes, then asks")


@requirement("connection.engine-set-idempotent")
def test_an_engine_that_is_told_twice_is_there_once(tested_client: ClientUnderTest) -> None:
    for number, uuid in ENGINES.items():
        tested_client.add_engine(number, uuid)
    tested_client.add_engine(7)
    tested_client.expect_engines(*ENGINES, 7)


@needs("execute")
@requirement("connection.file-extra-keys")
@connection_file(of_tomorrow=[1, {"two": 3}])
def test_an_unknown_key_of_the_file_does_not_matter(new_client: ClientUnderTest) -> None:
    connected(new_client)
    works(new_client)


@needs("execute")
@requirement("connection.wildcard-interface-uses-location")
@connection_file(interface="tcp://*")
def test_behind_a_wildcard_the_location_says_where_to_connect(new_client: ClientUnderTest) -> None:
    connected(new_client)
    works(new_client)


@needs("execute")
@requirement("wire.signature-scheme")
@connection_file(signature_scheme="hmac-sha512")
def test_the_file_says_how_messages_are_signed(new_client: ClientUnderTest) -> None:
    connected(new_client)
    works(new_client)


@needs("execute")
@requirement("wire.empty-key-unsigned")
@connection_file(key="")
def test_with_an_empty_key_nothing_is_signed(new_client: ClientUnderTest) -> None:
    connected(new_client)
    works(new_client)
    for seen in new_client.arrived["mux"]:
        if (signature := bytes(seen.frames[-5])) != b"":
            violate(f"a message has the signature {signature!r}", "an empty frame", evidence=(seen.seq,))


def works(client: ClientUnderTest) -> None:
    """Code must reach an engine, and its result the program."""
    work = client.execute(5)
    client.execute_reply(work.request)
    client.expect_results(work, OK)


@requirement("connection.half-written-file-waits")
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_file_that_is_half_written_is_refused_or_waited_for(new_client: ClientUnderTest, share: float) -> None:
    whole = render(new_client.world.file)
    connecting = new_client.connect(timeout=0.5, content=whole[: int(len(whole) * share)])
    answer = new_client.answer(connecting)
    if answer.ok is not None:
        violate("it connected", "an error, or that it waits")
    if not answer.error or not answer.error.message:
        violate(f"it failed with {told(answer)}", "an error that says something")
    if seen := [seen for kept in new_client.arrived.values() for seen in kept]:
        violate("it sent something", "nothing", evidence=(seen[0].seq,))
    connected(new_client)


@requirement("wire.packer-safe")
@connection_file(pack="pickle", unpack="pickle")
def test_a_file_that_wants_pickled_dictionaries_is_refused(new_client: ClientUnderTest) -> None:
    new_client.failure(new_client.connect(timeout=0.5))
    if seen := [seen for kept in new_client.arrived.values() for seen in kept]:
        violate("it sent something", "nothing", evidence=(seen[0].seq,))
