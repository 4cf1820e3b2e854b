"""Clients: what they ask of the Hub, and of engines beside their work.

Source: IPython commit a2c57acba, parallel_messages.txt, "Client Queries" and "Control Messages"; measured on
ipyparallel 9.2.0.
"""

from typing import Any

import pytest

from conformance.drivers import lines
from conformance.drivers.lines import Outcome
from conformance.harness.case import needs, requirement
from conformance.harness.client import ENGINES, ClientUnderTest, failed, message_of, packed
from conformance.harness.driver import Pending
from conformance.harness.verdict import violate
from protocol.wire import Json
from protocol.world import SECOND, Observation

#: Ids of requests that the Hub knows, and the client need not.
FIRST, SECOND_ONE = "11111111-aa_1_0", "22222222-bb_1_0"


def ask(client: ClientUnderTest, command: type[lines.Command], **about: Any) -> tuple[Pending, Observation]:
    """Have the Hub asked something: the command, and the request that arrived."""
    # The client may have asked for the engines once more in between.
    pending = client.tell(command, timeout=client.timing.reply_deadline_s, **about)
    return pending, query(client, 0)


def query(client: ClientUnderTest, number: int) -> Observation:
    """One of the queries that are no question for the engines, in the order in which they arrived."""

    def queries() -> list[Observation]:
        return [seen for seen in client.arrived["query"] if message_of(seen).msg_type != "connection_request"]

    started, limit = client.world.now, client.timing.reply_deadline
    if not client.world.run_until(lambda: len(queries()) > number, started + limit):
        client.expect_waited(started, limit)
        violate(f"{len(queries())} questions arrived at the hub", f"{number + 1}")
    return queries()[number]


def expect_request(seen: Observation, msg_type: str, **content: object) -> None:
    """A request must be of this type, and say at least this."""
    message = message_of(seen)
    found = {key: message.content.get(key) for key in content}
    if message.msg_type != msg_type or found != content:
        violate(f"{message.msg_type} {message.content!r:.200}", f"{msg_type} {content!r:.200}", evidence=(seen.seq,))


# -- the Hub -----------------------------------------------------------------------------------------------------------


@needs("queue")
@requirement("client.asks-hub")
@pytest.mark.parametrize("to", [(), (5,), (2, 5)], ids=["all", "one", "two"])
def test_a_client_asks_what_engines_have_to_do(tested_client: ClientUnderTest, to: tuple[int, ...]) -> None:
    pending, seen = ask(tested_client, lines.QueueStatus, to=to)
    expect_request(seen, "queue_request", targets=list(to) or None, verbose=False)
    status = {str(number): {"queue": number, "completed": 1, "tasks": 0} for number in to or ENGINES}
    tested_client.reply(seen, {"status": "ok", **status, "unassigned": 0})
    content = tested_client.success(pending).content or {}
    if {key: content.get(key) for key in status} != status:
        violate(f"the program got {content!r:.200}", repr(status))


@needs("results")
@requirement("client.asks-hub")
def test_a_client_asks_what_is_done(tested_client: ClientUnderTest) -> None:
    pending, seen = ask(tested_client, lines.ResultStatus, msg_ids=(FIRST, SECOND_ONE))
    expect_request(seen, "result_request", msg_ids=[FIRST, SECOND_ONE])
    tested_client.reply(seen, {"status": "ok", "pending": [SECOND_ONE], "completed": [FIRST]})
    content = tested_client.success(pending).content or {}
    if (content.get("pending"), content.get("completed")) != ([SECOND_ONE], [FIRST]):
        violate(f"the program got {content!r:.200}", f"{SECOND_ONE} pending, {FIRST} completed")


@needs("purge")
@requirement("client.asks-hub")
@pytest.mark.parametrize("about", [{"msg_ids": (FIRST,)}, {"msg_ids": "all"}, {"to": (5,)}], ids=str)
def test_a_client_has_requests_forgotten(tested_client: ClientUnderTest, about: dict[str, Any]) -> None:
    pending, seen = ask(tested_client, lines.Purge, **about)
    msg_ids = about.get("msg_ids", ())
    content = message_of(seen).content
    found = (content.get("msg_ids") or [], content.get("engine_ids") or [])
    wanted = (msg_ids if msg_ids == "all" else list(msg_ids), list(about.get("to", ())))
    if message_of(seen).msg_type != "purge_request" or found != wanted:
        violate(f"{message_of(seen).msg_type} {content!r:.200}", f"a purge_request of {wanted}", evidence=(seen.seq,))
    tested_client.reply(seen)
    tested_client.success(pending)


@needs("resubmit")
@requirement("client.asks-hub")
def test_a_client_has_requests_sent_again(tested_client: ClientUnderTest) -> None:
    pending, seen = ask(tested_client, lines.Resubmit, msg_ids=(FIRST, SECOND_ONE))
    expect_request(seen, "resubmit_request", msg_ids=[FIRST, SECOND_ONE])
    tested_client.reply(seen, {"status": "ok", "resubmitted": {SECOND_ONE: "new-second", FIRST: "new-first"}})
    msg_ids = tested_client.success(pending).msg_ids or ()
    if list(msg_ids) != ["new-first", "new-second"]:
        violate(f"the program got {list(msg_ids)}", "the new ids, in the order of the old")


@needs("resubmit")
@requirement("client.asks-hub")
def test_a_client_tells_what_became_of_what_was_sent_again(tested_client: ClientUnderTest) -> None:
    client = tested_client
    pending, seen = ask(client, lines.Resubmit, msg_ids=(FIRST,))
    client.reply(seen, {"status": "ok", "resubmitted": {FIRST: "new-first"}})
    client.success(pending)
    result = client.tell(lines.Result, of=pending.command.id, timeout=client.timing.reply_deadline_s)
    # The Hub alone is told; until it knows, some ask again and again.
    expect_request(asked := query(client, 1), "result_request", msg_ids=["new-first"])
    client.reply(asked, {"status": "ok", "pending": ["new-first"], "completed": []})
    expect_request(asked := query(client, 2), "result_request", msg_ids=["new-first"], status_only=False)
    request, answer = client.hub.make("apply_request"), client.hub.make("apply_reply", {"status": "ok"})
    record = {
        "header": request.header, "metadata": {}, "result_header": answer.header, "result_content": {"status": "ok"},
        "result_metadata": {"engine": ENGINES[5], "status": "ok"}, "io": {"stdout": "", "stderr": ""},
        "received": client.date(),
    }  # fmt: skip
    content = {"status": "ok", "pending": [], "completed": ["new-first"], "new-first": record}
    client.reply(asked, content, buffers=packed(42))
    found = client.success(result, within=2 * client.timing.reply_deadline).results or ()
    if tuple(found) != (Outcome(status="ok", value=42),):
        violate(f"the results {list(found)!r:.200}", "the value that the Hub was told, 42")


@needs("db")
@requirement("client.asks-hub")
@pytest.mark.parametrize("keys", [None, ("engine_uuid", "buffers", "result_buffers")], ids=["all", "some"])
def test_a_client_has_records_looked_up(tested_client: ClientUnderTest, keys: tuple[str, ...] | None) -> None:
    wanted = {"msg_id": {"$in": [FIRST, SECOND_ONE]}}
    pending, seen = ask(tested_client, lines.DbQuery, query=wanted, keys=keys)
    expect_request(seen, "db_request", query=wanted, keys=None if keys is None else list(keys))
    records = [{"msg_id": FIRST, "engine_uuid": ENGINES[2]}, {"msg_id": SECOND_ONE, "engine_uuid": ENGINES[5]}]
    counts = ([1, 2], [2, 0]) if keys else (None, None)
    content = {"status": "ok", "records": records, "buffer_lens": counts[0], "result_buffer_lens": counts[1]}
    # Those of a request, then those of its result, record by record.
    sizes = (1, 20, 21, 3, 4) if keys else ()
    tested_client.reply(seen, content, buffers=[b"x" * size for size in sizes])
    if keys:
        records[0] |= {"buffers": [1], "result_buffers": [20, 21]}  # type: ignore[dict-item]
        records[1] |= {"buffers": [3, 4], "result_buffers": []}  # type: ignore[dict-item]
    found = list(tested_client.success(pending).records or ())
    if found != records:
        violate(f"the program got {found!r:.300}", f"{records!r:.300}")


@needs("history")
@requirement("client.asks-hub")
def test_a_client_asks_for_all_requests(tested_client: ClientUnderTest) -> None:
    pending, seen = ask(tested_client, lines.History)
    expect_request(seen, "history_request")
    tested_client.reply(seen, {"status": "ok", "history": [SECOND_ONE, FIRST]})
    msg_ids = tested_client.success(pending).msg_ids or ()
    if list(msg_ids) != [SECOND_ONE, FIRST]:
        violate(f"the program got {list(msg_ids)}", f"{[SECOND_ONE, FIRST]}")


@needs("queue")
@requirement("client.error-told")
def test_a_refusal_of_the_hub_is_told(tested_client: ClientUnderTest) -> None:
    pending, seen = ask(tested_client, lines.QueueStatus, to=(5,))
    content = failed("IndexError", "No Such Engine: [5]", engine_info={})
    tested_client.reply(seen, content, msg_type="hub_error")
    expect_remote(tested_client, pending, "IndexError", "No Such Engine")


@needs("results")
@requirement("client.error-told")
def test_an_error_in_the_reply_of_the_hub_is_told(tested_client: ClientUnderTest) -> None:
    pending, seen = ask(tested_client, lines.ResultStatus, msg_ids=(FIRST,))
    tested_client.reply(seen, failed("KeyError", "No such message", engine_info={}))
    expect_remote(tested_client, pending, "KeyError", "No such message")


def expect_remote(client: ClientUnderTest, pending: Pending, ename: str, evalue: str) -> None:
    """A command must fail with the error that it was answered."""
    problem = client.failure(pending)
    if problem.kind != "remote" or problem.ename != ename or evalue not in problem.evalue:
        violate(f"the program got {problem.kind}: {problem.message}", f"{ename}: {evalue}")


@needs("queue", "results")
@requirement("client.replies-in-any-order")
def test_two_questions_get_each_their_own_reply(tested_client: ClientUnderTest) -> None:
    one, first = ask(tested_client, lines.QueueStatus, to=(5,))
    other = tested_client.tell(lines.ResultStatus, msg_ids=(FIRST,), timeout=tested_client.timing.reply_deadline_s)
    second = query(tested_client, 1)
    tested_client.reply(second, {"status": "ok", "pending": [], "completed": [FIRST]})
    done = (tested_client.success(other).content or {}).get("completed")
    if done != [FIRST] or one.is_answered:
        violate(f"completed is {done!r}, and the other question is {'over' if one.is_answered else 'open'}",
                "the reply went to the second question")  # fmt: skip
    tested_client.reply(first, {"status": "ok", "5": {"queue": 4, "completed": 0, "tasks": 0}, "unassigned": 0})
    if ((tested_client.success(one).content or {}).get("5") or {}).get("queue") != 4:
        violate("the first question got another answer", "its own")


@needs("queue", "execute")
@requirement("client.strange-replies-harmless")
def test_a_reply_of_the_hub_to_nothing_does_not_matter(tested_client: ClientUnderTest) -> None:
    pending, seen = ask(tested_client, lines.QueueStatus, to=(5,))
    strange = {"status": "ok", "5": {"queue": 9, "completed": 9, "tasks": 9}, "unassigned": 9}
    parent = message_of(seen).header | {"msg_id": "of-nobody"}
    tested_client.reply(seen, strange, parent=parent, why="a reply to nothing that was asked")
    tested_client.reply(seen, {"status": "ok", "5": {"queue": 4, "completed": 0, "tasks": 0}, "unassigned": 0})
    if ((tested_client.success(pending).content or {}).get("5") or {}).get("queue") != 4:
        violate("the reply to nothing was taken", "the reply to the question")


# -- engines -----------------------------------------------------------------------------------------------------------

#: What a client asks of engines: the command, what it says, the type of the request, and its content.
CONTROL = [
    pytest.param(lines.Abort, {"msg_ids": (FIRST, SECOND_ONE)}, "abort_request", {"msg_ids": [FIRST, SECOND_ONE]},
                 id="abort", marks=needs("abort")),
    pytest.param(lines.Clear, {}, "clear_request", {}, id="clear", marks=needs("clear")),
    pytest.param(lines.Signal, {"signal": 10}, "signal_request", {"sig": 10}, id="signal", marks=needs("signal")),
    pytest.param(lines.Shutdown, {}, "shutdown_request", {"restart": False}, id="shutdown", marks=needs("shutdown")),
]  # fmt: skip


def tell_engines(client: ClientUnderTest, command: type[lines.Command], **about: Any) -> Pending:
    """Have both engines asked something."""
    return client.tell(command, to=(2, 5), timeout=client.timing.reply_deadline_s, **about)


@requirement("client.asks-engine", "client.addresses-engine")
@pytest.mark.parametrize(("command", "about", "msg_type", "content"), CONTROL)
def test_a_client_asks_each_engine_on_control(
    tested_client: ClientUnderTest, command: type[lines.Command], about: Json, msg_type: str, content: Json
) -> None:
    pending = tell_engines(tested_client, command, **about)
    for number in range(2):
        seen = tested_client.arrivals("control", number + 1)[number]
        expect_request(seen, msg_type, **content)
        # Some ask the second engine when the first has answered.
        tested_client.reply(seen, {"status": "ok"} | ({"restart": False} if msg_type == "shutdown_request" else {}))
    asked = sorted(message_of(seen).identities[1:] for seen in tested_client.arrived["control"])
    if asked != sorted((uuid.encode(),) for uuid in ENGINES.values()):
        violate(f"requests with {asked!r} in front", "one for each engine", requirement="client.addresses-engine")
    tested_client.success(pending)


@needs("signal")
@requirement("client.error-told")
def test_an_error_of_an_engine_is_told(tested_client: ClientUnderTest) -> None:
    pending = tested_client.tell(lines.Signal, signal="SIGNOTHING", to=(5,), timeout=3.0)
    (seen,) = tested_client.arrivals("control", 1)
    tested_client.reply(seen, failed("AttributeError", "no such signal", engine_info={}))
    expect_remote(tested_client, pending, "AttributeError", "no such signal")


@needs("abort", "execute")
@requirement("client.aborted-told")
def test_what_was_taken_back_ends_as_aborted(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(5)
    pending = tested_client.tell(lines.Abort, msg_ids=(work.message.msg_id,), to=(5,), timeout=3.0)
    (seen,) = tested_client.arrivals("control", 1)
    tested_client.reply(seen)
    tested_client.success(pending, requirement="client.asks-engine")
    tested_client.expect_open(work)
    tested_client.reply(work.request, {"status": "aborted"})
    tested_client.expect_results(work, Outcome(status="aborted"))


@needs("shutdown")
@requirement("client.engines-before-hub")
def test_the_hub_is_asked_to_end_when_the_engines_have_answered(tested_client: ClientUnderTest) -> None:
    pending = tested_client.tell(lines.Shutdown, hub=True, timeout=2 * tested_client.timing.reply_deadline_s)
    requests = tested_client.arrivals("control", 2, requirement="client.engines-before-hub")
    tested_client.reply(requests[0], {"status": "ok", "restart": False})
    early = [seen for seen in tested_client.arrived["query"] if message_of(seen).msg_type == "shutdown_request"]
    if early:
        violate("the hub was asked before the engines had answered", "it is asked last", evidence=(early[0].seq,))
    tested_client.reply(requests[1], {"status": "ok", "restart": False})
    seen = query(tested_client, 0)
    expect_request(seen, "shutdown_request")
    tested_client.is_hub_awake = False
    tested_client.reply(seen)
    tested_client.success(pending)


@needs("shutdown")
@requirement("client.shutdown-ends-requests")
def test_the_reply_to_a_shutdown_counts_although_the_end_was_announced(tested_client: ClientUnderTest) -> None:
    tested_client.engines.clear()
    for number, uuid in ENGINES.items():
        tested_client.publish("unregistration_notification", {"id": number, "uuid": uuid})
    tested_client.expect_engines()
    pending = tested_client.tell(lines.Shutdown, hub=True, timeout=2 * tested_client.timing.reply_deadline_s)
    seen = query(tested_client, 0)
    expect_request(seen, "shutdown_request")
    tested_client.is_hub_awake = False
    tested_client.publish("shutdown_notification", {"status": "ok"}, parent=message_of(seen).header)
    # Two sockets have no common order; so much later nobody has the reply first.
    tested_client.let_pass(SECOND // 10)
    tested_client.reply(seen)
    tested_client.success(pending)
