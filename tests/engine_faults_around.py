"""Mistakes of the broken engine around what it runs: control, output, and the envelope of messages."""

from collections.abc import Sequence
from typing import Any

from engine_mischief import (
    KEYS,
    KNOWN,
    Arrives,
    C,
    E,
    P,
    arriving,
    content,
    deaf,
    deaf_after,
    fault,
    is_a,
    late,
    leaving,
    metadata,
    named,
    status,
    without,
)

from protocol.roles.base import Arrived, Effect, Event, Malformed, Send
from protocol.wire import Message

# -- control -----------------------------------------------------------------------------------------------------------


def _swapped(role: Any, _: str, message: Message) -> list[Message] | None:
    """Replies to aborts come two by two, the later one first."""
    if message.msg_type != "abort_reply":
        return [message]
    held = role.memory.pop("held", None)
    if held is None:
        role.memory["held"] = message
        return None
    return [message, held]


def _prints_aborted(role: Any, effect: Effect) -> Sequence[Effect]:
    if type(effect) is Send and effect.message.msg_type.endswith("_reply") and status(effect.message) == "aborted":
        extra: list[Effect] = []
        parent = effect.message.parent_header
        role.work.publish(0, "stream", {"name": "stdout", "text": "aborted\n"}, parent, extra)
        role.work.publish(0, "execute_input", {"code": "0", "execution_count": 1}, parent, extra)
        return [*extra, effect]
    return (effect,)


def _kills_running(role: Any, event: Event) -> Event | None:
    if type(event) is Arrived and event.message.msg_type == "abort_request" and role.work.running:
        job = role.work.jobs[role.work.running]
        if job.message.msg_id in (event.message.content["msg_ids"] or ()):
            role.memory["killed"] = job.message.msg_id
    return event


def _counted(role: Any, event: Event) -> Event:
    if is_a(event, "abort_request"):
        role.work.count += 1
    return event


def _aborts(**spelt: Any) -> Arrives:
    """An abort that says one thing is read as if it said another; `single` is a text, `null` and `empty` mean all."""

    def change(_: Any, __: str, message: Message) -> Message:
        if message.msg_type != "abort_request":
            return message
        said = message.content["msg_ids"]
        kind = "single" if isinstance(said, str) else "null" if said is None else "named" if said else "empty"
        return message.replace(content={"msg_ids": spelt[kind]}) if kind in spelt else message

    return arriving(change)


fault(
    "aborts-nothing",
    {f"{C}test_an_abort_ends_the_requests_it_names_and_no_others": "control.abort-by-id"},
    arrives=_aborts(named=["nobody"]),
)
fault(
    "aborts-everything",
    {
        f"{C}test_an_abort_ends_the_requests_it_names_and_no_others": "control.abort-keeps-others",
        f"{C}test_an_abort_of_what_is_over_or_unknown_touches_nothing_later": "control.abort-unknown-harmless",
    },
    arrives=_aborts(named=[]),
)
fault(
    "null-means-nothing",
    {f"{C}test_an_abort_with_null_ends_everything_that_is_queued": "control.abort-null-means-all"},
    arrives=_aborts(null=["nobody"]),
)
fault(
    "empty-means-nothing",
    {f"{C}test_an_abort_with_an_empty_list_ends_everything_that_is_queued": "control.abort-empty-means-all"},
    arrives=_aborts(empty=["nobody"]),
)
fault(
    "wants-a-list",
    {f"{C}test_an_abort_may_name_one_id_without_a_list": "control.abort-single-id"},
    arrives=_aborts(single=["nobody"]),
)
fault(
    "answers-no-abort",
    {f"{C}test_an_abort_ends_the_requests_it_names_and_no_others": "control.abort-answered"},
    leaves=without("abort_reply"),
)
fault(
    "aborted-code-prints",
    {
        f"{C}test_an_aborted_request_prints_nothing": "control.abort-by-id",
        f"{P}test_an_aborted_request_has_its_brackets_and_no_input": "kernel.aborted-answered",
    },
    leaves=_prints_aborted,
)
fault(
    "aborts-what-runs",
    {f"{C}test_an_abort_does_not_touch_what_runs": "control.abort-running-harmless"},
    arrives=_kills_running,
    leaves=leaving(
        lambda role, _, m: (
            m.replace(content={"status": "aborted"})
            if m.msg_type == "execute_reply" and m.parent_header.get("msg_id") == role.memory.get("killed")
            else m
        )
    ),
)
fault(
    "strict-about-control",
    {f"{C}test_unknown_keys_of_the_content_are_ignored": "wire.content-extra-keys"},
    arrives=deaf(lambda m: m.msg_type == "clear_request" and m.content),
)
fault(
    "control-counts", {f"{C}test_control_requests_count_as_no_execution": "control.executes-nothing"}, arrives=_counted
)
fault(
    "control-out-of-order",
    {f"{C}test_control_requests_of_one_client_are_answered_in_the_order_sent": "kernel.control-fifo"},
    leaves=leaving(_swapped),
)
fault(
    "nameless-control",
    {
        f"{C}test_the_reply_to_an_abort_names_the_engine": "control.reply-metadata-engine",
        f"{C}test_the_reply_to_a_clear_names_the_engine": "control.reply-metadata-engine",
    },
    leaves=metadata("engine", ..., "abort_reply", "clear_reply"),
)
fault(
    "answers-no-clear",
    {f"{C}test_a_clear_empties_the_namespace": "control.clear-answered"},
    leaves=without("clear_reply"),
)
fault(
    "dies-of-a-clear",
    {f"{C}test_a_clear_empties_the_namespace": "control.clear-leaves-engine-usable"},
    leaves=leaving(
        lambda role, _, m: (
            role.memory.update(cleared=role.memory.get("cleared") or m.msg_type == "clear_reply")
            or (
                m.replace(content={"status": "aborted"})
                if role.memory["cleared"] and m.msg_type == "execute_reply" and status(m) == "ok"
                else m
            )
        )
    ),
)
fault(
    "misnames-signals",
    {f"{C}test_a_signal_is_answered_under_its_name": "control.signal-answered"},
    leaves=named("signal_reply", "signalled"),
    where="warden",
)
fault(
    "answers-no-shutdown",
    {f"{C}test_a_shutdown_is_answered_and_the_engine_ends[TARGET-False]": "control.shutdown-answered"},
    leaves=without("shutdown_reply", socket="control"),
)
fault(
    "forgets-restart",
    {f"{C}test_a_shutdown_is_answered_and_the_engine_ends[TARGET-True]": "control.shutdown-restart-echoed"},
    leaves=content("shutdown_reply", "restart"),
)
fault(
    "wants-to-know-restart",
    {f"{C}test_a_shutdown_with_empty_content_is_a_shutdown": "control.shutdown-empty-content"},
    arrives=deaf(lambda m: m.msg_type == "shutdown_request" and not m.content),
)
fault(
    "leaves-unpublished",
    {f"{C}test_a_shutdown_is_published": "control.shutdown-published"},
    leaves=without("shutdown_reply", socket="iopub"),
)
fault(
    "runs-the-queue-at-the-end",
    {f"{C}test_a_shutdown_aborts_what_is_queued": "control.shutdown-aborts-queue"},
    leaves=leaving(
        lambda _, __, m: (
            m.replace(content={"status": "ok", "execution_count": 9})
            if m.msg_type == "execute_reply" and status(m) == "aborted"
            else m
        )
    ),
)
fault(
    "dies-unnoticed",
    {f"{C}test_the_death_of_an_engine_is_reported_in_its_stead": "registration.warden-reports-death"},
    leaves=without("unregistration_request"),
    where="warden",
)

# -- output ------------------------------------------------------------------------------------------------------------


def _parentless(_: Any, socket: str, message: Message) -> Message:
    is_output = socket == "iopub" and message.msg_type == "stream"
    return message.replace(parent_header=message.parent_header | {"date": "another"}) if is_output else message


def _topic(_: Any, socket: str, message: Message) -> Message:
    return message.replace(identities=(b"kernel." + message.msg_type.encode(),)) if socket == "iopub" else message


def _shows_what_is_silent(role: Any, effect: Effect) -> Sequence[Effect]:
    is_busy = (
        type(effect) is Send
        and effect.message.msg_type == "status"
        and effect.message.content["execution_state"] == "idle"
        and effect.message.parent_header
    )
    if not is_busy:
        return (effect,)
    extra: list[Effect] = []
    role.work.publish(0, "execute_input", {"code": "0", "execution_count": 1}, effect.message.parent_header, extra)
    return [*extra, effect]


def _unbracketed(_: Any, __: str, message: Message) -> Message | None:
    return (
        None
        if message.msg_type == "status" and message.parent_header.get("msg_type") == "request_of_tomorrow"
        else message
    )


def _numbers_lost(_: Any, __: str, message: Message) -> Message:
    if message.msg_type != "stream":
        return message
    return message.replace(content=message.content | {"text": message.content["text"].replace("500\n", "")})


def _twice_idle(role: Any, _: str, message: Message) -> Message | list[Message]:
    if message.msg_type != "status" or message.content["execution_state"] != "idle":
        return message
    about = {"parent": message.parent_header, "metadata": message.metadata, "identities": message.identities}
    return [message, role.voice.say(0, "status", message.content, **about)]


fault(
    "swallows-streams",
    {
        f"{P}test_what_code_writes_is_published[TARGET-print-stdout]": "iopub.stream-text",
        f"{P}test_what_code_writes_is_published[TARGET-stderr-stderr]": "iopub.stream-text",
    },
    leaves=without("stream"),
)
fault(
    "loses-a-line",
    {f"{P}test_many_lines_arrive_complete_and_in_order": "iopub.stream-order"},
    leaves=leaving(_numbers_lost),
)
fault(
    "idle-twice",
    {f"{P}test_output_lies_between_one_busy_and_one_idle[TARGET-print]": "iopub.status-brackets"},
    leaves=leaving(_twice_idle),
)
fault(
    "prints-after-idle",
    {f"{P}test_output_lies_between_one_busy_and_one_idle[TARGET-print]": "iopub.output-inside-brackets"},
    leaves=late("stream", "status"),
)
fault(
    "alters-parents",
    {f"{P}test_output_names_the_request_that_made_it": "iopub.parent-names-request"},
    leaves=leaving(_parentless),
)
fault(
    "topics-of-a-kernel",
    {f"{P}test_the_topic_names_the_engine_by_its_number": "iopub.topic-names-engine"},
    leaves=leaving(_topic),
)
fault(
    "hides-input",
    {f"{P}test_code_is_published_to_all_before_its_output": "iopub.execute-input-published"},
    leaves=without("execute_input"),
)
fault(
    "input-after-output",
    {f"{P}test_code_is_published_to_all_before_its_output": "kernel.execute-input-first"},
    leaves=late("execute_input", "stream"),
)
fault(
    "hides-values",
    {f"{P}test_the_value_of_an_expression_is_published": "iopub.execute-result-published"},
    leaves=without("execute_result"),
)
fault(
    "hides-errors",
    {
        f"{P}test_an_error_is_published_as_it_is_answered": "iopub.error-published",
        f"{P}test_an_error_of_a_call_is_published_too": "iopub.error-published",
    },
    leaves=without("error"),
)
fault(
    "nameless-output",
    {f"{P}test_status_input_and_error_name_their_engine": "iopub.engine-metadata"},
    leaves=metadata("engine", ..., "status", "execute_input", "error"),
)
fault(
    "shows-what-is-silent",
    {f"{P}test_a_silent_request_shows_neither_input_nor_value": "kernel.silent-quiet"},
    leaves=_shows_what_is_silent,
)
fault(
    "no-brackets-for-the-unknown",
    {f"{P}test_an_unknown_type_has_its_brackets": "kernel.unknown-type-bracketed"},
    leaves=leaving(_unbracketed),
)

# -- the envelope ------------------------------------------------------------------------------------------------------

AFTER = "test_after_a_part_that"
_GARBAGE = {
    "test_a_multipart_without_delimiter_is_dropped[TARGET-WAY]": "wire.delimiter-present",
    "test_a_message_that_ends_too_early_is_dropped[TARGET-5-WAY]": "wire.all-parts-present",
    f"{AFTER}_cannot_be_read_the_next_request_is_answered[TARGET-truncated-head-WAY]": "wire.parts-readable",
    f"{AFTER}_is_no_object_the_next_request_is_answered[TARGET-array-head-WAY]": "wire.parts-are-objects",
    "test_a_header_without_a_good_msg_id_harms_nothing[TARGET-17-WAY]": "wire.header-msg-id",
    "test_a_header_without_a_good_msg_type_harms_nothing[TARGET-17-WAY]": "wire.header-msg-type",
}
fault(
    "dies-of-garbage",
    {
        **{E + case.replace("WAY", way): slug for case, slug in _GARBAGE.items() for way in ("mux", "control")},
        f"{E}test_what_one_client_sends_wrong_harms_no_other": "wire.malformed-harms-nobody",
    },
    arrives=deaf_after(lambda e: type(e) is Malformed),
    where="both",
)
fault(
    "wants-every-key",
    {
        f"{E}test_a_request_without_what_nobody_needs_is_answered[TARGET-{key}-{way}]": "wire.header-optional-fields"
        for key, way in (("session", "mux"), ("date", "control"))
    }
    | {
        f"{E}test_a_request_of_another_version_is_answered[TARGET-99.0-mux]": "wire.header-any-version",
        f"{E}test_an_unknown_key_of_the_header_comes_back[TARGET-mux]": "wire.header-extra-keys",
    },
    arrives=deaf(lambda m: m.msg_type in KNOWN and (set(m.header) != KEYS or m.header["version"] == "99.0")),
)
fault(
    "wants-no-buffers",
    {
        f"{E}test_buffers_that_nobody_needs_are_ignored[TARGET-delimiter-mux]": "wire.unexpected-buffers-ignored",
        f"{E}test_buffers_that_nobody_needs_are_ignored[TARGET-empty-control]": "wire.unexpected-buffers-ignored",
        f"{E}test_thousands_of_buffers_pass": "wire.buffers-any-number",
    },
    arrives=deaf(lambda m: m.msg_type != "apply_request" and m.buffers),
)
