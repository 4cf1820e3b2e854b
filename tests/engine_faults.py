"""Mistakes of the broken engine in its registration, and in what it runs: code and calls."""

from typing import Any

from engine_mischief import (
    BAD_CALL,
    BAD_CONTENT,
    KNOWN,
    A,
    C,
    E,
    H,
    R,
    X,
    arriving,
    asked,
    buffers,
    content,
    deaf,
    deaf_after,
    exits_with,
    fault,
    leaving,
    metadata,
    named,
    no_timer,
    status,
    without,
)

from protocol.applybuffers import pack_object
from protocol.roles.base import Arrived
from protocol.wire import Message

# -- registration ------------------------------------------------------------------------------------------------------


def _as_another_session(_: Any, __: str, message: Message) -> Message:
    return message.replace(header=message.header | {"session": "another"})


def _granted(_: Any, __: str, message: Message) -> Message:
    is_refusal = message.msg_type == "registration_reply" and status(message) == "error"
    return message.replace(content={"status": "ok", "id": 3, "hb_period": 100}) if is_refusal else message


fault(
    "another-session",
    {f"{R}test_the_session_of_what_an_engine_sends_is_its_uuid": "registration.engine-session-is-uuid"},
    leaves=leaving(_as_another_session),
)
fault(
    "patient-for-ever",
    {f"{R}test_an_engine_that_nobody_answers_takes_its_leave_and_fails": "registration.engine-gives-up"},
    arrives=no_timer("registration"),
)
fault(
    "leaves-without-a-word",
    {
        f"{R}test_an_engine_that_nobody_answers_takes_its_leave_and_fails": "registration.engine-gives-up",
        f"{H}test_an_engine_that_hears_no_pings_takes_its_leave_and_ends": "heartbeat.engine-watches-pings",
    },
    leaves=without("unregistration_request"),
    where="both",
)
fault(
    "fails-without-saying-so",
    {f"{R}test_an_engine_that_nobody_answers_takes_its_leave_and_fails": "registration.engine-gives-up"},
    leaves=exits_with(0),
)
fault(
    "serves-when-refused",
    {f"{R}test_a_refused_engine_does_not_go_on_under_that_uuid": "registration.refused-engine-serves-nobody"},
    arrives=arriving(_granted),
)
fault(
    "no-watch",
    {f"{H}test_an_engine_that_hears_no_pings_takes_its_leave_and_ends": "heartbeat.engine-watches-pings"},
    arrives=no_timer("watch"),
)


# -- code --------------------------------------------------------------------------------------------------------------


def _always(message: Message, *identities: bytes) -> bool:
    return bool(set(identities) & set(message.identities))


def _first_asker(role: Any, _: str, message: Message) -> Message:
    if not message.msg_type.endswith("_reply"):
        return message
    return message.replace(identities=role.memory.setdefault("asker", message.identities))


def _doomed(role: Any, _: str, message: Message) -> Message:
    """After one abort all is aborted."""
    if status(message) == "aborted":
        role.memory["doomed"] = True
    elif role.memory.get("doomed") and message.msg_type == "execute_reply" and status(message) == "ok":
        return message.replace(content={"status": "aborted"})
    return message


def _is_bad(message: Message) -> bool:
    try:
        return message.msg_type == "execute_request" and not isinstance(message.content.get("code"), str)
    except Exception:
        return True


USUAL = {"code", "silent", "store_history", "user_expressions", "allow_stdin", "stop_on_error"}

for queue_name in ("task", "broadcast"):
    relay = {"task": b"task_out", "broadcast": b"sub_scheduler_01"}[queue_name]
    fault(
        f"deaf-to-{queue_name}",
        {
            f"{X}test_code_is_run_from_each_queue[TARGET-{queue_name}]": "apply.execute-too",
            f"{A}test_a_call_is_answered_on_each_queue[TARGET-{queue_name}]": "apply.answered",
        },
        arrives=deaf(lambda m, relay=relay: _always(m, relay)),
    )
fault(
    "deaf",
    {
        f"{X}test_code_is_run_from_each_queue[TARGET-mux]": "apply.execute-too",
        f"{A}test_a_call_is_answered_on_each_queue[TARGET-mux]": "apply.answered",
    },
    arrives=deaf(lambda m: _always(m, b"mux_out")),
)
fault(
    "errors-are-fine",
    {f"{X}test_code_that_fails_is_answered_with_an_error": "apply.execute-error-reported"},
    leaves=content("execute_reply", "ename", "evalue", "traceback", "engine_info", when="error", status="ok"),
)
fault(
    "silent-about-bad-content",
    {
        f"{X}test_a_request_without_code_is_answered_with_an_error": "kernel.execute-missing-code",
        f"{E}{BAD_CONTENT}[TARGET-b'null']": "kernel.bad-content-answered",
    },
    arrives=deaf(_is_bad),
)
fault(
    "gives-up-after-an-error",
    {
        f"{X}test_after_an_error_the_next_request_runs": "apply.usable-after-error",
        f"{X}test_code_that_asks_for_input_fails_and_the_engine_goes_on[TARGET-unsaid]": "stdin.not-allowed-error",
    },
    leaves=leaving(
        lambda role, _, m: (
            m
            if m.msg_type != "execute_reply"
            else m.replace(content={"status": "aborted"})
            if role.memory.get("failed")
            else role.memory.update(failed=status(m) == "error") or m
        )
    ),
)
fault(
    "counts-nothing",
    {f"{X}test_the_counter_rises_with_each_request": "kernel.execution-count"},
    leaves=content("execute_reply", execution_count=7),
)
fault(
    "counts-from-zero",
    {f"{X}test_the_counter_starts_at_one": "kernel.execution-count"},
    leaves=leaving(
        lambda _, __, m: (
            m.replace(content=m.content | {"execution_count": m.content["execution_count"] - 1})
            if m.msg_type == "execute_reply" and "execution_count" in m.content
            else m
        )
    ),
)
fault(
    "errors-uncounted",
    {f"{X}test_the_counter_rises_with_each_request": "kernel.count-in-ok-and-error"},
    leaves=content("execute_reply", "execution_count", when="error"),
)
fault(
    "counts-whatever-comes",
    {
        f"{X}test_a_silent_request_does_not_count": "kernel.silent-quiet",
        f"{X}test_a_request_that_is_not_to_be_stored_does_not_count": "kernel.store-history-false",
        f"{X}test_no_code_at_all_is_ok_and_does_not_count": "kernel.empty-code-ok",
    },
    arrives=arriving(
        lambda _, __, m: (
            m.replace(content={"code": m.content.get("code") or "0"})
            if m.msg_type == "execute_request" and "pilot" not in str(m.content.get("code"))
            else m
        )
    ),
)
fault(
    "forgets-expressions",
    {f"{X}test_each_expression_is_answered_for_itself": "kernel.user-expressions"},
    leaves=content("execute_reply", when="ok", user_expressions={}),
)
fault(
    "strict-about-fields",
    {f"{X}test_fields_of_tomorrow_are_ignored": "kernel.extra-fields-ignored"},
    arrives=deaf(lambda m: m.msg_type == "execute_request" and not set(m.content) <= USUAL),
)
fault(
    "answers-the-first-client",
    {f"{X}test_each_client_is_answered_under_its_own_identity": "wire.reply-identities-echoed"},
    leaves=leaving(_first_asker),
)
fault(
    "goes-on-after-errors",
    {f"{X}test_what_is_queued_behind_an_error_is_aborted_and_answered": "kernel.stop-on-error-aborts"},
    arrives=asked("execute_request", stop_on_error=False),
)
fault(
    "stops-at-errors",
    {f"{X}test_what_is_queued_behind_an_error_runs_if_that_was_asked_for": "kernel.stop-on-error-false"},
    arrives=asked("execute_request", stop_on_error=True),
)
fault(
    "aborts-without-a-word",
    {
        f"{X}test_what_is_queued_behind_an_error_is_aborted_and_answered": "kernel.aborted-answered",
        f"{C}test_an_abort_ends_the_requests_it_names_and_no_others": "control.aborted-request-answered",
    },
    leaves=leaving(lambda _, __, m: None if m.msg_type.endswith("_reply") and status(m) == "aborted" else m),
)
fault(
    "aborts-for-ever",
    {
        f"{X}test_what_is_queued_behind_an_error_is_aborted_and_answered": "kernel.later-requests-run",
        f"{C}test_an_abort_with_an_empty_list_ends_everything_that_is_queued": "control.abort-now-only",
    },
    leaves=leaving(_doomed),
)
fault(
    "has-no-banner",
    {f"{X}test_an_engine_tells_what_it_is": "kernel.kernel-info"},
    leaves=content("kernel_info_reply", "banner"),
)
fault(
    "finds-code-invalid",
    {f"{X}test_an_engine_says_whether_code_is_complete": "kernel.is-complete"},
    leaves=content("is_complete_reply", status="invalid"),
)
fault(
    "calls-all-replies-the-same",
    {f"{X}test_requests_of_different_types_are_answered_in_kind": "wire.dispatch-by-type"},
    leaves=named("kernel_info_reply", "execute_reply"),
)
fault(
    "dies-of-the-unknown",
    {
        f"{X}test_an_unknown_type_disturbs_nothing": "kernel.unknown-type-bracketed",
        f"{C}test_an_unknown_type_disturbs_nothing": "control.unknown-type-harmless",
    },
    arrives=deaf_after(lambda e: type(e) is Arrived and e.message.msg_type not in KNOWN),
)

# -- calls -------------------------------------------------------------------------------------------------------------

fault(
    "returns-another-value",
    {
        f"{A}test_a_value_goes_there_and_comes_back[TARGET-a number]": "apply.returns-value",
        f"{A}test_a_call_without_arguments_has_two_buffers": "apply.request-buffers-at-least-two",
        f"{A}test_the_withdrawn_key_bound_is_ignored": "apply.bound-withdrawn",
    },
    leaves=buffers("ok", *pack_object("another")),
)
fault(
    "returns-nothing",
    {f"{A}test_a_value_goes_there_and_comes_back[TARGET-text]": "apply.reply-buffers-at-least-one"},
    leaves=buffers("ok"),
)
fault(
    "copies-large-bytes",
    {f"{A}test_large_bytes_come_back_beside_the_pickle": "apply.large-data-uncopied"},
    leaves=leaving(
        lambda _, __, m: m.replace(buffers=pack_object(bytes(m.buffers[1]), 1 << 30)) if len(m.buffers) == 2 else m
    ),
)
fault(
    "errors-with-values",
    {f"{A}test_a_call_that_raises_is_answered_with_an_error_and_no_value": "apply.reply-buffers-only-ok"},
    leaves=buffers("error", *pack_object(1)),
)
fault(
    "call-errors-are-fine",
    {
        f"{A}test_a_call_that_raises_is_answered_with_an_error_and_no_value": "apply.error-reply",
        f"{A}{BAD_CALL}[TARGET-random bytes]": "apply.garbage-buffers-error",
    },
    leaves=content("apply_reply", "ename", "evalue", "traceback", "engine_info", when="error", status="ok"),
)
fault(
    "aborted-with-values",
    {f"{A}test_an_aborted_call_has_no_value": "apply.reply-buffers-only-ok"},
    leaves=buffers("aborted", *pack_object(1)),
)
fault(
    "nameless-errors",
    {f"{A}test_an_error_names_the_engine": "apply.error-names-engine"},
    leaves=content("apply_reply", "engine_info", when="error"),
)
for key, wrong in (("status", "fine"), ("engine", "another"), ("started", "yesterday"), ("dependencies_met", ...)):
    fault(
        f"metadata-without-{key}",
        {f"{A}test_the_metadata_say_how_where_and_when_it_ran[TARGET-ok]": f"apply.metadata-{key.replace('_', '-')}"},
        leaves=metadata(key, wrong, "apply_reply"),
    )
fault(
    "never-refuses",
    {f"{A}test_a_call_whose_condition_is_unmet_is_refused": "dependency.engine-check"},
    leaves=metadata("dependencies_met", True, "apply_reply"),
)
fault(
    "forgets-the-original",
    {f"{A}test_the_reply_to_a_broadcast_says_which_it_belongs_to": "broadcast.engine-reply-metadata"},
    leaves=metadata("original_msg_id", "", "apply_reply"),
)
