"""Engines: what code writes, shows and raises, and the brackets around it, on IOPub.

Source: jupyter_client messaging.rst, "Messages on the IOPub (PUB/SUB) channel"; IPython commit 7bde2f380,
parallel_connections.txt, "IOPub"; measured on ipyparallel 9.2.0.
"""

import pytest

from conformance.harness.case import needs, needs_system, requirement
from conformance.harness.engine import NUMBER, Caller, EngineUnderTest
from conformance.harness.verdict import violate
from protocol.applybuffers import pack_request
from protocol.pickles import Global
from protocol.wire import Message
from protocol.world import Observation

pytestmark = needs("output")

#: How many lines code prints that prints many.
LINES = 1000


def done(client: Caller, sample: str, content: dict[str, object] | None = None, **values: object) -> Message:
    """Code that has run, all of whose output has come."""
    request = client.execute(client.engine.sample(sample, **values), content=content)
    client.reply(request)
    client.engine.until_idle(request)
    return request


def types(seen: list[Observation]) -> list[str]:
    """The types of what was published."""
    return [each.message.msg_type for each in seen if each.message]


@requirement("iopub.stream-text")
@pytest.mark.parametrize(("sample", "stream"), [("print", "stdout"), ("stderr", "stderr")])
def test_what_code_writes_is_published(engine: EngineUnderTest, sample: str, stream: str) -> None:
    request = done(engine.client(), sample, text="hello")
    if engine.text(request, stream) != "hello\n":
        violate(f"{stream}: {engine.text(request, stream)!r:.200}", repr("hello\n"))


@requirement("iopub.stream-order", "kernel.stream-complete")
def test_many_lines_arrive_complete_and_in_order(engine: EngineUnderTest) -> None:
    request = done(engine.client(), "many_lines", count=LINES)
    found, wanted = engine.text(request).splitlines(), [str(number) for number in range(LINES)]
    if found != wanted:
        at = next((n for n, (one, other) in enumerate(zip(found, wanted, strict=False)) if one != other), len(found))
        violate(f"{len(found)} lines, and {found[at : at + 3]!r} at line {at}", f"{LINES} lines in order")


@requirement("iopub.status-brackets", "iopub.output-inside-brackets")
@pytest.mark.parametrize("sample", ["print", "raise"])
def test_output_lies_between_one_busy_and_one_idle(engine: EngineUnderTest, sample: str) -> None:
    client = engine.client()
    request = done(client, sample, text="hello")
    # Whatever comes late comes before the idle of the next request.
    done(client, "print", text="the barrier")
    if engine.states(request) != ["busy", "idle"]:
        violate(f"the states {engine.states(request)}", "busy, then idle")
    found = types(engine.outputs(request))
    if found[0] != "status" or found[-1] != "status":
        violate(
            f"{', '.join(found)}", "status busy first, status idle last", requirement="iopub.output-inside-brackets"
        )


@requirement("iopub.parent-names-request")
def test_output_names_the_request_that_made_it(engine: EngineUnderTest) -> None:
    first, other = engine.client(), engine.client()
    requests = [
        client.execute(engine.sample("print", text=f"word{n}")) for n, client in enumerate((first, other, first))
    ]
    for request in requests:
        engine.until_idle(request)
    for number, request in enumerate(requests):
        if engine.text(request) != f"word{number}\n":
            violate(f"{engine.text(request)!r:.200} for request {number}", repr(f"word{number}\n"))
        for seen in engine.outputs(request):
            assert seen.message is not None
            if seen.message.parent_header != request.header:
                violate(f"the parent header {seen.message.parent_header!r:.300}", f"{request.header!r:.300}",
                        evidence=(seen.seq,))  # fmt: skip


@requirement("iopub.topic-names-engine")
def test_the_topic_names_the_engine_by_its_number(engine: EngineUnderTest) -> None:
    request = done(engine.client(), "print", text="hello")
    for seen in engine.outputs(request):
        assert seen.message is not None
        topics = [identity.decode(errors="replace") for identity in seen.message.identities]
        if len(topics) != 1 or not topics[0].startswith(f"engine.{NUMBER}."):
            violate(
                f"{seen.message.msg_type} under the topics {topics!r:.200}", f"engine.{NUMBER}.…", evidence=(seen.seq,)
            )


@requirement("iopub.execute-input-published", "kernel.execute-input-first")
def test_code_is_published_to_all_before_its_output(engine: EngineUnderTest) -> None:
    request = done(engine.client(), "print", text="hello")
    published = engine.until_published(request, "execute_input")
    assert published.message is not None
    if published.message.content.get("code") != request.content["code"]:
        violate(f"{published.message.content!r:.200}", f"code {request.content['code']!r}", evidence=(published.seq,))
    if types(engine.outputs(request, "execute_input", "stream"))[0] != "execute_input":
        violate("output before the input", "execute_input first", requirement="kernel.execute-input-first")


@requirement("iopub.execute-result-published")
def test_the_value_of_an_expression_is_published(engine: EngineUnderTest) -> None:
    request = done(engine.client(), "value", text="wanted")
    published = engine.until_published(request, "execute_result")
    assert published.message is not None
    if "wanted" not in str(published.message.content.get("data")):
        violate(f"{published.message.content!r:.200}", "data that shows 'wanted'", evidence=(published.seq,))


@requirement("iopub.error-published", "kernel.error-published")
def test_an_error_is_published_as_it_is_answered(engine: EngineUnderTest) -> None:
    client = engine.client()
    request = done(client, "raise", text="badness")
    reply = client.reply(request)
    published = engine.until_published(request, "error")
    assert published.message is not None
    for key in ("ename", "evalue", "traceback"):
        if published.message.content.get(key) != reply.content.get(key):
            violate(f"{key} {published.message.content.get(key)!r:.200}", f"{reply.content.get(key)!r:.200}",
                    evidence=(published.seq, reply.observation.seq))  # fmt: skip


@needs("output", "apply")
@needs_system("Python")
@requirement("iopub.error-published")
def test_an_error_of_a_call_is_published_too(engine: EngineUnderTest) -> None:
    client = engine.client()
    request = client.send("apply_request", buffers=pack_request(Global("operator", "truediv"), 1, 0))
    client.reply(request)
    published = engine.until_published(request, "error")
    assert published.message is not None
    missing = [key for key in ("ename", "evalue", "traceback") if key not in published.message.content]
    if missing:
        violate(f"an error without {', '.join(missing)}", "ename, evalue and traceback", evidence=(published.seq,))


@requirement("iopub.data-published")
def test_data_that_code_publishes_is_named_and_travels_in_buffers(engine: EngineUnderTest) -> None:
    request = done(engine.client(), "publish", name="wanted")
    published = engine.until_published(request, "data_message", "data_pub")
    assert published.message is not None
    if "wanted" not in published.message.content.get("keys", ()) or not published.message.buffers:
        violate(f"keys {published.message.content.get('keys')!r:.200} and {len(published.message.buffers)} buffers",
                "the key 'wanted', and its value in a buffer", evidence=(published.seq,))  # fmt: skip


@requirement("iopub.engine-metadata")
def test_status_input_and_error_name_their_engine(engine: EngineUnderTest) -> None:
    request = done(engine.client(), "raise", text="badness")
    for seen in engine.outputs(request, "status", "execute_input", "error"):
        assert seen.message is not None
        named = seen.message.metadata.get("engine")
        if named != engine.uuid:
            violate(f"{seen.message.msg_type} with metadata {seen.message.metadata!r:.200}", f"engine: {engine.uuid}",
                    evidence=(seen.seq,))  # fmt: skip


@requirement("kernel.silent-quiet")
def test_a_silent_request_shows_neither_input_nor_value(engine: EngineUnderTest) -> None:
    client = engine.client()
    request = done(client, "value", {"silent": True}, text="hidden")
    done(client, "print", text="the barrier")
    found = types(engine.outputs(request, "execute_input", "execute_result"))
    if found:
        violate(f"{', '.join(found)} of a silent request", "nothing but its brackets")


@needs("output", "abort")
@requirement("kernel.aborted-answered", "iopub.status-brackets")
def test_an_aborted_request_has_its_brackets_and_no_input(engine: EngineUnderTest) -> None:
    client = engine.client()
    running = client.execute(engine.sample("sleep", seconds=0.5))
    aborted = client.execute(engine.sample("print", text="aborted"))
    client.ask("abort_request", {"msg_ids": [aborted.msg_id]}, channel="control")
    client.reply(running)
    client.reply(aborted)
    engine.until_idle(aborted)
    done(client, "print", text="the barrier")
    if engine.states(aborted) != ["busy", "idle"]:
        violate(f"the states {engine.states(aborted)}", "busy, then idle", requirement="iopub.status-brackets")
    if engine.outputs(aborted, "execute_input"):
        violate("the input of an aborted request was published", "nothing but its brackets")


@requirement("kernel.unknown-type-bracketed")
def test_an_unknown_type_has_its_brackets(engine: EngineUnderTest) -> None:
    client = engine.client()
    request = client.send("request_of_tomorrow", {"key": 1}, why="a type that nobody knows")
    # Requests are bracketed one after the other.
    done(client, "print", text="the barrier")
    if engine.states(request) != ["busy", "idle"]:
        violate(f"the states {engine.states(request)}", "busy, then idle")
