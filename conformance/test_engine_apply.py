"""Engines: calls of functions, whose arguments and value travel as buffers.

The kit pickles functions of Python's standard library by reference, and reads values from their opcodes: nothing that
came from a target is loaded. Source: IPython commit a2c57acba, parallel_messages.txt, "apply"; measured on ipyparallel
9.2.0.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from conformance.harness.actors import Reply
from conformance.harness.case import needs, needs_system, requirement
from conformance.harness.engine import NUMBER, Caller, EngineUnderTest
from conformance.harness.expect import containing, error, ok
from conformance.harness.verdict import Finding, Violated, violate
from protocol.applybuffers import CANNING, describe_reply, pack_request
from protocol.errors import RemoteProtocolError
from protocol.pickles import Dictionary, Global, Instance, PickleError, Set, trace
from protocol.wire import Frame, Message

pytestmark = needs("apply")
#: What is called is Python's, and what comes back has to be right.
calls_python = needs_system("Python")

COPY = Global("copy", "deepcopy")
DICT = Global("builtins", "dict")
DIVIDE = Global("operator", "truediv")
SLEEP = Global("time", "sleep")

#: Values that an engine must be able to take and to give back, by what they are.
VALUES: dict[str, Any] = {
    "nothing": None,
    "truth": True,
    "a number": 42,
    "a large number": 2**200,
    "a negative number": -(2**40),
    "a fraction": 0.1,
    "text": "Zürich 東京 😀",
    "empty text": "",
    "bytes": bytes(range(256)),
    "a list": [1, [2, [3, []]], "four"],
    "a long list": list(range(1000)),
    "a tuple": (1, "two", None),
    "a dictionary": {"a": [1, 2], "b": {"c": None}},
}


def call(client: Caller, function: Global, *args: Any, channel: str = "mux", **keywords: Any) -> Message:
    """A call, sent."""
    return client.send("apply_request", channel=channel, buffers=pack_request(function, *args, keywords=keywords))


def value_of(reply: Reply) -> Any:
    """The value in the buffers of an ok reply."""
    reply.expect(ok("apply_reply"))
    buffers = reply.message.buffers
    if not buffers:
        violate("an ok reply without buffers", "one buffer at least", evidence=(reply.observation.seq,),
                requirement="apply.reply-buffers-at-least-one")  # fmt: skip
    try:
        describe_reply(buffers)
        return plain(trace(bytes(buffers[0])), list(buffers[1:]))
    except (PickleError, RemoteProtocolError) as problem:
        finding = Finding(f"buffers that hold no value: {problem}", ("a value",), evidence=(reply.observation.seq,))
        raise Violated(finding, "apply.returns-value") from None


def plain(value: Any, taken: list[Frame]) -> Any:
    """What stands for a value, as that value; bytes may have been taken out of it into buffers of their own."""
    match value:
        case Dictionary():
            return {key: plain(each, taken) for key, each in value.pairs}
        case Set():
            return {plain(each, taken) for each in value.items}
        case Instance() if isinstance(value.kind, Global) and value.kind.module == CANNING:
            (held,) = plain(value.state, taken)["buffers"]
            return bytes(taken.pop(0) if held is None else held)
        case list():
            return [plain(each, taken) for each in value]
        case tuple() if type(value) is tuple:
            return tuple(plain(each, taken) for each in value)
    return value


@pytest.mark.parametrize(
    "channel",
    [
        "mux",
        pytest.param("task", marks=needs("apply", "tasks")),
        pytest.param("broadcast", marks=needs("apply", "broadcast")),
    ],
)
@requirement("apply.answered")
def test_a_call_is_answered_on_each_queue(engine: EngineUnderTest, channel: str) -> None:
    client = engine.client()
    client.reply(call(client, Global("operator", "add"), 20, 22, channel=channel)).expect(ok("apply_reply"))


@calls_python
@requirement(
    "apply.returns-value", "apply.arbitrary-objects", "apply.request-buffers", "apply.reply-buffers-at-least-one"
)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_value_goes_there_and_comes_back(engine: EngineUnderTest, value: Any) -> None:
    client = engine.client()
    found = value_of(client.reply(call(client, COPY, value)))
    if found != value or type(found) is not type(value):
        violate(f"the value {found!r:.200}", f"{value!r:.200}")


@calls_python
@requirement("apply.calls-function")
def test_arguments_by_position_and_by_name_reach_the_function(engine: EngineUnderTest) -> None:
    client = engine.client()
    for request, wanted in (
        (call(client, Global("builtins", "sorted"), [3, 1, 2], reverse=True), [3, 2, 1]),
        (call(client, DICT, {"a": 1}, b=2, c=[3]), {"a": 1, "b": 2, "c": [3]}),
        (call(client, Global("builtins", "max"), 3, 7, 5), 7),
    ):
        found = value_of(client.reply(request))
        if found != wanted:
            violate(f"the value {found!r:.200}", f"{wanted!r}")


@calls_python
@requirement("apply.request-buffers-at-least-two", "apply.buffers-three-documented")
def test_a_call_without_arguments_has_two_buffers(engine: EngineUnderTest) -> None:
    client = engine.client()
    found = value_of(client.reply(call(client, DICT)))
    if found != {}:
        violate(f"the value {found!r:.200}", "{}")


@calls_python
@requirement("apply.large-data-uncopied")
def test_large_bytes_come_back_beside_the_pickle(engine: EngineUnderTest) -> None:
    client = engine.client()
    data = bytes(range(256)) * 16384
    reply = client.reply(call(client, COPY, data))
    if value_of(reply) != data:
        violate("other bytes", "the bytes that were sent", requirement="apply.returns-value")
    if len(reply.message.buffers) != 2 or reply.message.buffers[1] != data:
        sizes = [len(buffer) for buffer in reply.message.buffers]
        violate(f"buffers of {sizes} bytes", f"a pickle, and {len(data)} bytes beside it",
                evidence=(reply.observation.seq,))  # fmt: skip


# -- errors ------------------------------------------------------------------------------------------------------------


@calls_python
@requirement("apply.error-reply", "apply.reply-buffers-only-ok", "apply.usable-after-error")
def test_a_call_that_raises_is_answered_with_an_error_and_no_value(engine: EngineUnderTest) -> None:
    client = engine.client()
    reply = client.reply(call(client, DIVIDE, 1, 0)).expect(error("apply_reply"))
    if reply.message.buffers:
        violate(f"{len(reply.message.buffers)} buffers in an error", "none", evidence=(reply.observation.seq,),
                requirement="apply.reply-buffers-only-ok")  # fmt: skip
    client.reply(call(client, DIVIDE, 1, 2)).expect(ok("apply_reply"), requirement="apply.usable-after-error")


@calls_python
@requirement("apply.error-names-engine")
def test_an_error_names_the_engine(engine: EngineUnderTest) -> None:
    client = engine.client()
    about = containing(engine_uuid=engine.uuid, engine_id=NUMBER, method="apply")
    client.reply(call(client, DIVIDE, 1, 0)).expect(error("apply_reply", engine_info=about))


#: Buffers that are no call.
GARBAGE: dict[str, Sequence[bytes]] = {
    "none": (),
    "one": pack_request(DICT)[:1],
    "random bytes": (b"\x93\x00\xff" * 7, b"\xfe\x80" * 9),
    "a function that does not exist": pack_request(Global("operator", "no_such_function"), 1),
    "what cannot be called": pack_request(Global("math", "pi")),
    "fewer arguments than announced": pack_request(DIVIDE, 1, 2)[:3],
}


@calls_python
@requirement("apply.garbage-buffers-error", "apply.usable-after-error")
@pytest.mark.parametrize("buffers", GARBAGE.values(), ids=GARBAGE)
def test_buffers_that_are_no_call_are_answered_with_an_error(engine: EngineUnderTest, buffers: Sequence[bytes]) -> None:
    client = engine.client()
    request = client.send("apply_request", buffers=buffers, why="buffers that are no call")
    client.reply(request).expect(error("apply_reply"))
    client.reply(call(client, DIVIDE, 1, 2)).expect(ok("apply_reply"), requirement="apply.usable-after-error")


@needs("apply", "abort")
@requirement("apply.reply-buffers-only-ok")
def test_an_aborted_call_has_no_value(engine: EngineUnderTest) -> None:
    client = engine.client()
    running, queued = call(client, SLEEP, 0.5), call(client, DIVIDE, 1, 2)
    client.ask("abort_request", {"msg_ids": [queued.msg_id]}, channel="control")
    client.reply(running)
    reply = client.reply(queued, requirement="control.aborted-request-answered")
    if reply.content.get("status") != "ok" and reply.message.buffers:
        violate(f"{len(reply.message.buffers)} buffers in {reply.content!r:.100}", "none",
                evidence=(reply.observation.seq,))  # fmt: skip


# -- what the reply says of the run ------------------------------------------------------------------------------------


@requirement(
    "apply.metadata-status", "apply.metadata-engine", "apply.metadata-started", "apply.metadata-dependencies-met"
)
@pytest.mark.parametrize("divisor", [2, 0], ids=["ok", "error"])
def test_the_metadata_say_how_where_and_when_it_ran(engine: EngineUnderTest, divisor: int) -> None:
    client = engine.client()
    reply = client.reply(call(client, DIVIDE, 1, divisor))
    metadata, seen = reply.message.metadata, (reply.observation.seq,)
    for slug, key, wanted in (
        ("apply.metadata-status", "status", reply.content.get("status")),
        ("apply.metadata-engine", "engine", engine.uuid),
        ("apply.metadata-dependencies-met", "dependencies_met", True),
    ):
        if metadata.get(key) != wanted:
            violate(f"{key} {metadata.get(key)!r:.200}", f"{wanted!r}", requirement=slug, evidence=seen)
    started, date = metadata.get("started"), reply.message.header.get("date")
    began, sent = time_of(started), time_of(date)
    if began is None or (sent is not None and began > sent):
        found = f"started {started!r:.100}, sent {date!r:.100}"
        violate(found, "a time, not later than the reply's", requirement="apply.metadata-started", evidence=seen)


def time_of(text: object) -> datetime | None:
    """An ISO 8601 time with its zone, or None."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else None


@calls_python
@needs("apply", "dependencies")
@requirement("dependency.engine-check")
def test_a_call_whose_condition_is_unmet_is_refused(engine: EngineUnderTest) -> None:
    client = engine.client()
    needs_module = Global("ipyparallel.controller.dependency", "_require")
    reply = client.reply(call(client, needs_module, "no_module_of_this_name")).expect(error("apply_reply"))
    if reply.message.metadata.get("dependencies_met") is not False:
        violate(
            f"metadata {reply.message.metadata!r:.200}", "dependencies_met: false", evidence=(reply.observation.seq,)
        )


@needs("apply", "broadcast")
@requirement("broadcast.engine-reply-metadata", "broadcast.leaf-by-id")
def test_the_reply_to_a_broadcast_says_which_it_belongs_to(engine: EngineUnderTest) -> None:
    client = engine.client()
    asked = {"is_broadcast": True, "is_coalescing": True, "original_msg_id": "kit-original"}
    request = client.send("apply_request", channel="broadcast", metadata=asked, buffers=pack_request(DIVIDE, 1, 2))
    reply = client.reply(request)
    for key, wanted in asked.items():
        if reply.message.metadata.get(key) != wanted:
            violate(f"{key} {reply.message.metadata.get(key)!r:.100}", f"{wanted!r}", evidence=(reply.observation.seq,))


# -- order -------------------------------------------------------------------------------------------------------------


@requirement("apply.one-at-a-time")
def test_calls_and_code_of_one_client_run_in_the_order_sent(engine: EngineUnderTest) -> None:
    client = engine.client()
    requests = [call(client, SLEEP, 0.3)]
    for number in range(20):
        requests.append(call(client, DIVIDE, number, 2))
        requests.append(client.execute(engine.sample("print", text="hello")))
    client.reply(requests[-1])
    order = [seen.message.parent_header.get("msg_id") for seen in engine.replies if seen.message]
    if order != [request.msg_id for request in requests]:
        violate(f"{len(order)} replies in another order", f"one for each of {len(requests)} requests, as sent")


@calls_python
@requirement("apply.bound-withdrawn")
def test_the_withdrawn_key_bound_is_ignored(engine: EngineUnderTest) -> None:
    client = engine.client()
    request = client.send("apply_request", metadata={"bound": True}, buffers=pack_request(DIVIDE, 1, 2), bound=True)
    found = value_of(client.reply(request))
    if found != 0.5:
        violate(f"the value {found!r:.200}", "0.5")
