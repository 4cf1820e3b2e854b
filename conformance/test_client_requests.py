"""Clients: what they send for work, frame by frame: to whom, with which metadata, content and buffers.

Source: IPython commit a2c57acba, parallel_messages.txt, "Apply Requests" and "Schedulers"; measured on ipyparallel
9.2.0.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from conformance.drivers import lines
from conformance.harness.case import needs, requirement
from conformance.harness.client import ENGINES, ClientUnderTest, Work, message_of
from conformance.harness.verdict import violate
from protocol.applybuffers import THRESHOLD, Call, describe_request
from protocol.errors import RemoteProtocolError
from protocol.world import Observation

#: Code whose characters must not be lost on the way.
CODE = "text = 'ä € 😀 \\n'\nprint(\"it's\", text)\n\tif x < 3 & y: pass\r\n"


def call_of(seen: Observation) -> Call:
    """What the buffers of a call hold, told without loading them; what is wrong with them is a violation."""
    try:
        return describe_request(message_of(seen).buffers)
    except RemoteProtocolError as wrong:
        first = wrong.problems[0]
        found = f"buffers {first.path}: {first.found}"
        violate(found, first.expected, requirement=first.rule, evidence=(seen.seq,))


@needs("execute")
@requirement("client.addresses-engine", "client.code-unchanged")
def test_code_goes_to_the_engine_that_was_named(tested_client: ClientUnderTest) -> None:
    seen = tested_client.execute(5, code=CODE).request
    message = message_of(seen)
    if (found := message.identities[1:]) != (ENGINES[5].encode(),):
        violate(f"the identities {list(found)!r} in front", "only that of the engine", evidence=(seen.seq,))
    if message.msg_type != "execute_request":
        violate(f"a message of type {message.msg_type}", "execute_request", evidence=(seen.seq,))
    if (code := message.content.get("code")) != CODE:
        violate(f"the code {code!r}", repr(CODE), requirement="client.code-unchanged", evidence=(seen.seq,))


@needs("execute")
@requirement("client.one-request-each", "wire.msg-id-unique")
def test_work_for_several_engines_goes_to_each_once(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(5, 2)
    # What is sent later on the same socket arrives later: nothing more can come for the first command.
    tested_client.execute(2)
    requests = tested_client.arrived["mux"][:-1]
    uuids = sorted(tested_client.engine_of(seen) for seen in requests)
    if uuids != sorted(ENGINES.values()):
        violate(f"requests for {uuids}", "one for each engine", evidence=tuple(seen.seq for seen in requests))
    ids = {message_of(seen).msg_id for seen in work.requests}
    if len(ids) != len(work.requests):
        violate("two requests with one msg_id", "an id of its own for each", requirement="wire.msg-id-unique")


@needs("apply")
@requirement("apply.request-content-empty", "client.addresses-engine")
def test_a_call_is_in_its_buffers_and_not_in_its_content(tested_client: ClientUnderTest) -> None:
    seen = tested_client.apply(2, args=(1, 2)).request
    message = message_of(seen)
    if message.content != {}:
        violate(f"the content {message.content!r:.200}", "{}", evidence=(seen.seq,))
    if (found := message.identities[1:]) != (ENGINES[2].encode(),):
        wrong = f"the identities {list(found)!r} in front"
        violate(wrong, "only that of the engine", requirement="client.addresses-engine", evidence=(seen.seq,))


#: Arguments by position and by name, and what a description must say of them.
CALLS: dict[str, tuple[Sequence[Any], dict[str, Any]]] = {
    "no argument": ((), {}),
    "two": ((1, [2, "three"]), {}),
    "a name": ((), {"key": {"a": 1}}),
    "both": ((1, None), {"b": 2, "a": "x"}),
}


@needs("apply")
@requirement("apply.request-buffers", "apply.argument-counts-true", "apply.request-buffers-at-least-two")
@pytest.mark.parametrize("name", CALLS)
def test_the_buffers_of_a_call_are_function_description_and_arguments(
    tested_client: ClientUnderTest, name: str
) -> None:
    args, keywords = CALLS[name]
    seen = tested_client.apply(2, function="builtins.dict", args=args, keywords=keywords).request
    if (count := len(message_of(seen).buffers)) < 2:
        rule = "apply.request-buffers-at-least-two"
        violate(f"{count} buffers", "two at least", requirement=rule, evidence=(seen.seq,))
    call = call_of(seen)
    if call.info.nargs != len(args) or sorted(call.info.kw_keys) != sorted(keywords):
        violate(
            f"{call.info.nargs} arguments and the names {list(call.info.kw_keys)}",
            f"{len(args)} and {sorted(keywords)}", requirement="apply.argument-counts-true", evidence=(seen.seq,),
        )  # fmt: skip


@needs("apply")
@requirement("apply.bound-withdrawn")
def test_a_call_does_not_say_whether_it_is_bound(tested_client: ClientUnderTest) -> None:
    seen = tested_client.apply(2).request
    message = message_of(seen)
    if message.msg_type != "apply_request" or "bound" in {**message.metadata, **message.content}:
        violate(f"{message.msg_type} {message.metadata!r:.200}", "an apply_request without `bound`")


@needs("apply")
@requirement("apply.large-data-uncopied")
def test_large_bytes_travel_beside_the_pickle(tested_client: ClientUnderTest) -> None:
    size = 64 * THRESHOLD
    seen = tested_client.apply(2, function="builtins.len", args=({"bytes": size},)).request
    pieces = [part for part in call_of(seen).parts if part.out_of_band]
    if [part.size for part in pieces] != [size]:
        held = [f"{part.role} of {part.size} bytes" for part in call_of(seen).parts]
        violate(f"the buffers {held}", f"one of exactly {size} bytes", evidence=(seen.seq,))


# -- the task queue ----------------------------------------------------------------------------------------------------


@needs("apply", "tasks")
@requirement("client.task-names-no-engine")
def test_a_task_has_no_engine_in_front(tested_client: ClientUnderTest) -> None:
    seen = tested_client.apply(queue="task").request
    if found := message_of(seen).identities[1:]:
        violate(f"the identities {list(found)!r} in front", "none", evidence=(seen.seq,))


@needs("apply", "tasks")
@requirement("client.task-metadata")
def test_the_dependencies_of_a_task_are_message_ids(tested_client: ClientUnderTest) -> None:
    first, second = tested_client.apply(queue="task"), tested_client.apply(queue="task")
    third = tested_client.apply(queue="task", after=(first.number, second.number), follow=(second.number,))
    wanted = {"after": {first.message.msg_id, second.message.msg_id}, "follow": {second.message.msg_id}}
    for key, ids in wanted.items():
        if (found := named_in(third, key)) != ids:
            violate(f"{key} names {sorted(found)}", f"{sorted(ids)}", evidence=(third.request.seq,))


def named_in(work: Work, key: str) -> set[str]:
    """The message ids under a key of the metadata: one, a list of them, or a dictionary that says more."""
    value = work.message.metadata.get(key)
    if isinstance(value, dict):
        value = value.get("dependencies")
    if isinstance(value, str):
        return {value}
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()


@needs("apply", "tasks")
@requirement("client.task-metadata")
def test_what_else_steers_a_task_stands_beside_them(tested_client: ClientUnderTest) -> None:
    work = tested_client.apply(5, queue="task", retries=3, within=7.5)
    wanted = {"targets": [ENGINES[5]], "retries": 3, "timeout": 7.5}
    found = {key: work.message.metadata.get(key) for key in wanted}
    if isinstance(found["targets"], str):
        found["targets"] = [found["targets"]]
    if found != wanted:
        violate(f"the metadata {found!r}", repr(wanted), evidence=(work.request.seq,))


# -- broadcasts --------------------------------------------------------------------------------------------------------


@needs("apply", "broadcast")
@requirement("client.broadcast-metadata")
@pytest.mark.parametrize("coalescing", [False, True], ids=["a reply each", "one reply"])
def test_a_broadcast_names_its_engines(tested_client: ClientUnderTest, coalescing: bool) -> None:
    seen = tested_client.apply(2, 5, queue="broadcast", coalescing=coalescing).request
    metadata = message_of(seen).metadata
    targets = {(pair[0], pair[1]) for pair in metadata.get("targets", ()) if isinstance(pair, list) and len(pair) == 2}
    if targets != {(uuid, number) for number, uuid in ENGINES.items()}:
        violate(f"the targets {metadata.get('targets')!r}", "a pair of uuid and id each", evidence=(seen.seq,))
    found = (metadata.get("is_broadcast"), metadata.get("is_coalescing"))
    if found != (True, coalescing):
        violate(f"is_broadcast, is_coalescing: {found}", f"{(True, coalescing)}", evidence=(seen.seq,))


# -- ids ---------------------------------------------------------------------------------------------------------------


@needs("execute")
@requirement("apply.retrieval-information")
def test_a_program_can_know_the_ids_of_what_it_sent(tested_client: ClientUnderTest) -> None:
    sent = tested_client.tell(lines.Execute, code="1", to=(2, 5))
    told = tested_client.success(sent).msg_ids or ()
    seen = tested_client.arrivals("mux", 2)
    if sorted(told) != sorted(message_of(each).msg_id for each in seen):
        violate(f"the client says {list(told)}", "the ids of what arrived", evidence=tuple(each.seq for each in seen))
