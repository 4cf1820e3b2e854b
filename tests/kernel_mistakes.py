"""Mistakes of a kernel with what it is asked: code and its output, questions, control, and input."""

from collections.abc import Sequence

from kernel_mischief import (
    ERROR,
    becomes,
    changed,
    down,
    late,
    lost,
    mistake,
    parents,
    published,
    replies,
    requests,
    said,
    twice,
)

from conformance.relay.rewriting import Alter, Passing, Rule, of

# -- code --------------------------------------------------------------------------------------------------------------


def _counting() -> Rule:
    """Every reply counts."""
    numbers = iter(range(1, 10**6))
    return Alter(down("execute_reply"), lambda p: p.replace(content=said(p) | {"execution_count": next(numbers)}))


def _talkative() -> Rule:
    """The input of every request is shown, however silent or aborted it is."""

    def show(passing: Passing) -> Sequence[Passing] | None:
        if not published("status", state="idle")(passing) or passing.message is None:
            return None
        header = passing.message.header | {"msg_type": "execute_input", "msg_id": f"{passing.message.msg_id}-shown"}
        return passing.replace(header=header, content={"code": "", "execution_count": 1}), passing

    return show


def _gossiping() -> Rule:
    """Each reply is followed by one to a request that somebody else made."""

    def gossip(passing: Passing) -> Sequence[Passing] | None:
        if not down("execute_reply")(passing) or passing.message is None:
            return None
        return passing, passing.replace(parent_header=passing.message.parent_header | {"msg_id": "of-another"})

    return gossip


mistake(
    "fails-at-everything",
    {
        "test_code_is_run_and_answered": "kernel.execute-answered",
        "test_after_an_error_the_next_request_runs": "kernel.execute-answered",
        "test_what_is_set_in_one_request_is_there_in_the_next": "kernel.execute-answered",
        "test_fields_of_tomorrow_are_ignored": "kernel.extra-fields-ignored",
        "test_what_is_sent_after_the_abort_is_run": "kernel.later-requests-run",
        "test_each_flag_may_be_left_out": "kernel.execute-answered",
        "test_a_signal_while_nothing_runs_has_no_effect": "kernel.interrupt-idle-harmless",
    },
    becomes("execute_reply", "ok", ERROR),
)
mistake(
    "hides-errors",
    {
        "test_code_that_fails_is_answered_with_an_error": "kernel.execute-answered",
        "test_an_interrupt_ends_what_runs": "kernel.interrupt-ends-cell",
        "test_a_signal_ends_what_runs": "kernel.interrupt-ends-cell",
        "test_a_request_for_an_unknown_subshell_is_an_error": "kernel.unknown-subshell-error",
        "test_a_frontend_with_another_identity_on_stdin_is_not_asked": "stdin.identity-shared",
        "test_an_interrupt_ends_the_waiting": "stdin.interrupt-ends-waiting",
    },
    becomes("execute_reply", "error", {"status": "ok", "execution_count": 1, "user_expressions": {}}),
)
mistake(
    "an-error-without-count",
    {"test_code_that_fails_is_answered_with_an_error": "kernel.count-in-ok-and-error"},
    replies("execute_reply", execution_count=...),
)
mistake(
    "counts-everything",
    {
        "test_no_code_at_all_is_ok_and_does_not_count": "kernel.empty-code-ok",
        "test_a_silent_request_does_not_count": "kernel.silent-quiet",
        "test_a_request_that_is_not_to_be_stored_does_not_count": "kernel.store-history-false",
        "test_an_aborted_request_does_not_count": "kernel.aborted-answered",
    },
    _counting,
)
mistake(
    "always-seven",
    {
        "test_the_counter_rises_with_each_request": "kernel.execution-count",
        "test_the_counter_starts_at_one": "kernel.execution-count",
    },
    replies("execute_reply", execution_count=7),
)
mistake(
    "a-payload-of-words",
    {"test_a_payload_is_a_list_of_objects_that_say_where_they_come_from": "kernel.payload-tolerated"},
    replies("execute_reply", payload=["words"]),
)
mistake(
    "no-expressions",
    {"test_each_expression_is_answered_for_itself": "kernel.user-expressions"},
    replies("execute_reply", user_expressions={}),
)
mistake(
    "changes-places",
    {"test_requests_of_one_frontend_are_answered_in_the_order_sent": "kernel.shell-fifo"},
    late(down("execute_reply"), down("execute_reply"), times=1),
)
mistake(
    "answers-twice",
    {"test_requests_of_one_frontend_are_answered_in_the_order_sent": "wire.at-most-one-reply"},
    twice(down("execute_reply")),
)
mistake(
    "tells-others",
    {"test_each_frontend_gets_its_own_replies_and_no_others": "kernel.reply-to-sender-only"},
    _gossiping,
)
mistake(
    "runs-what-it-should-abort",
    {
        "test_after_an_error_what_waits_is_aborted": "kernel.stop-on-error-aborts",
        "test_what_waits_behind_an_interrupted_request_is_aborted": "kernel.interrupt-aborts-queue",
    },
    becomes("execute_reply", "aborted", {"status": "ok", "execution_count": 1, "user_expressions": {}}),
)
mistake(
    "forgets-what-it-aborts",
    {"test_after_an_error_what_waits_is_aborted": "kernel.aborted-answered"},
    lost(down("execute_reply", where=lambda p: said(p).get("status") == "aborted")),
)
mistake(
    "aborts-everything",
    {
        "test_without_stop_on_error_what_waits_is_run": "kernel.stop-on-error-false",
        "test_a_silent_request_that_fails_aborts_nothing": "kernel.silent-error-aborts-nothing",
        "test_an_error_in_a_subshell_aborts_nothing_in_the_main_shell": "kernel.subshell-abort-apart",
    },
    becomes("execute_reply", "ok", {"status": "aborted"}),
)
mistake(
    "has-a-status-of-its-own",
    {
        "test_what_others_have_waiting_is_run_or_aborted_and_in_any_case_answered": "kernel.abort-spans-frontends",
        "test_code_that_reads_the_standard_input_of_the_kernel_ends": "stdin.no-raw-stdin",
    },
    replies("execute_reply", status="perhaps"),
)
mistake(
    "shows-what-is-silent",
    {
        "test_an_aborted_request_has_its_brackets_and_nothing_else": "kernel.aborted-answered",
        "test_a_silent_request_shows_neither_input_nor_value": "kernel.silent-quiet",
        "test_what_a_request_is_says_its_type_and_nothing_else": "wire.dispatch-by-type",
    },
    _talkative,
)

# -- output ------------------------------------------------------------------------------------------------------------

mistake(
    "idle-before-busy",
    {
        "test_output_lies_between_one_busy_and_one_idle": "kernel.status-brackets",
        "test_an_unknown_type_has_its_brackets": "kernel.unknown-type-bracketed",
    },
    late(published("status", state="busy"), published("status", state="idle")),
)
mistake(
    "busy-twice",
    {
        "test_each_request_is_bracketed": "kernel.status-brackets",
        "test_a_request_on_control_is_bracketed": "kernel.status-brackets",
        "test_a_request_on_control_during_a_cell_has_brackets_of_its_own": "kernel.status-brackets",
        "test_a_question_has_no_brackets_of_its_own": "stdin.no-status",
    },
    twice(published("status", state="busy")),
)
mistake(
    "idle-of-another",
    {"test_each_request_is_bracketed": "kernel.status-brackets"},
    parents(published("status", state="idle")),
)
mistake(
    "output-after-idle",
    {"test_output_lies_between_one_busy_and_one_idle": "kernel.output-after-busy"},
    late(published("stream", "error", "execute_result"), published("status", state="idle")),
)
mistake(
    "other-words",
    {
        "test_what_code_writes_is_published": "kernel.stream-complete",
        "test_many_lines_arrive_complete_and_in_order": "kernel.stream-complete",
        "test_a_very_long_line_arrives_whole": "kernel.stream-complete",
    },
    changed(published("stream"), text="something else\n"),
)
mistake(
    "one-stream",
    {"test_each_stream_is_complete_by_itself": "kernel.stream-complete"},
    changed(published("stream"), name="stdout"),
)
mistake(
    "input-behind-output",
    {"test_code_is_published_before_its_output": "kernel.execute-input-first"},
    late(published("execute_input"), published("stream")),
)
mistake(
    "values-without-data",
    {
        "test_the_value_of_an_expression_is_published": "kernel.execute-result",
        "test_what_code_displays_is_published": "kernel.display-data",
    },
    changed(published("execute_result", "display_data"), data={}),
)
mistake(
    "another-error",
    {"test_an_error_is_published_as_it_is_answered": "kernel.error-published"},
    changed(published("error"), evalue="something else"),
)
mistake(
    "an-update-of-nothing",
    {"test_a_display_with_an_id_can_be_updated": "kernel.display-data"},
    changed(published("update_display_data"), transient={}),
)
mistake(
    "clears-without-a-word",
    {"test_clearing_says_whether_to_wait": "kernel.clear-output"},
    changed(published("clear_output"), wait=...),
)
mistake(
    "no-output",
    {"test_every_frontend_hears_what_each_has_asked": "kernel.iopub-to-all"},
    lost(published("stream")),
)

# -- questions ---------------------------------------------------------------------------------------------------------

mistake("no-banner", {"test_a_kernel_says_what_it_is": "kernel.kernel-info"}, replies("kernel_info_reply", banner=...))
mistake(
    "speaks-version-four",
    {"test_versions_are_told_and_need_not_agree": "kernel.versions-may-differ"},
    replies("kernel_info_reply", protocol_version="4.1"),
)
mistake(
    "one-subshell",
    {"test_subshells_that_are_announced_are_there": "kernel.supported-features-true"},
    replies("list_subshell_reply", subshell_id="one"),
)
mistake(
    "no-debugger",
    {"test_a_debugger_that_is_announced_is_there": "kernel.debug-reply"},
    replies("debug_reply", success=False),
)
mistake(
    "other-ports", {"test_a_kernel_tells_its_ports": "kernel.connect-reply-ports"}, replies("connect_reply", hb_port=1)
)
mistake(
    "completes-to-nonsense",
    {
        "test_the_beginning_of_a_name_is_completed": "kernel.complete",
        "test_completion_looks_at_the_cursor_and_not_at_the_end": "kernel.complete",
        "test_cursors_count_code_points": "kernel.cursor-in-code-points",
    },
    replies("complete_reply", matches=["nonsense"]),
)
mistake("knows-nothing", {"test_a_name_that_is_known_is_explained": "kernel.inspect"},
        replies("inspect_reply", found=False))  # fmt: skip
mistake("knows-all", {"test_a_name_that_is_unknown_is_no_error": "kernel.inspect"},
        replies("inspect_reply", found=True))  # fmt: skip
mistake(
    "all-code-is-invalid",
    {"test_a_kernel_says_whether_code_is_complete": "kernel.is-complete"},
    replies("is_complete_reply", status="invalid"),
)
mistake(
    "no-history",
    {
        "test_the_end_of_the_history_is_what_was_run_last": "kernel.history",
        "test_a_range_of_this_session_is_told": "kernel.history",
        "test_the_history_can_be_searched": "kernel.history",
        "test_with_output_each_line_of_history_has_both": "kernel.history",
    },
    replies("history_reply", history=[]),
)
mistake(
    "invents-comms",
    {"test_without_comms_none_is_told": "kernel.comm-info"},
    replies("comm_info_reply", comms={"invented": {"target_name": "invented"}}),
)
mistake(
    "denies-comms", {"test_a_comm_that_was_opened_is_told": "kernel.comm-info"}, replies("comm_info_reply", comms={})
)
mistake(
    "leaves-comms-open",
    {"test_a_comm_to_an_unknown_target_is_closed_again": "kernel.comm-unknown-target-closed"},
    lost(published("comm_close")),
)

# -- control -----------------------------------------------------------------------------------------------------------

mistake(
    "control-waits",
    {"test_control_is_answered_while_code_runs": "kernel.control-during-cell"},
    late(down("kernel_info_reply", channel="kernel-control"), down("execute_reply"), across=True),
)
mistake(
    "control-changes-places",
    {"test_control_is_answered_in_the_order_sent": "kernel.control-fifo"},
    late(down("kernel_info_reply"), down("kernel_info_reply"), times=1),
)
mistake(
    "interrupts-fail",
    {"test_an_interrupt_of_nothing_has_no_effect": "kernel.interrupt-idle-harmless"},
    becomes("interrupt_reply", "ok", ERROR),
)
mistake(
    "subshells-wait",
    {"test_a_subshell_answers_while_the_main_shell_is_busy": "kernel.subshells"},
    late(
        down("execute_reply", where=lambda p: p.message is not None and "subshell_id" in p.message.parent_header),
        down("execute_reply", where=lambda p: p.message is not None and "subshell_id" not in p.message.parent_header),
    ),
)
mistake(
    "never-ends",
    {
        "test_a_shutdown_is_answered_and_the_kernel_ends": "kernel.shutdown-answered",
        "test_a_shutdown_on_shell_is_served": "kernel.shutdown-on-shell",
        "test_a_shutdown_during_a_cell_is_answered_at_once": "kernel.shutdown-during-cell",
        "test_a_file_that_was_given_is_left_behind": "kernel.connection-file-kept",
        "test_a_kernel_that_is_started_again_has_a_new_session": "kernel.restart-new-session",
    },
    lost(of("shutdown_request", is_up=True)),
)

# -- input -------------------------------------------------------------------------------------------------------------

mistake(
    "all-is-secret",
    {"test_code_that_asks_makes_the_kernel_ask": "stdin.input-requested"},
    changed(down("input_request"), password=True),
)
mistake(
    "asks-for-another",
    {"test_code_that_asks_makes_the_kernel_ask": "stdin.request-parent"},
    parents(down("input_request")),
)
mistake(
    "asks-twice",
    {"test_the_frontend_whose_code_runs_is_asked_and_no_other": "stdin.goes-to-requester"},
    twice(down("input_request")),
)
mistake(
    "reads-something-else",
    {
        "test_the_code_reads_what_the_frontend_gives": "stdin.input-delivered",
        "test_code_can_ask_twice": "stdin.input-delivered",
        "test_an_end_of_transmission_is_an_end_of_file": "stdin.end-of-file",
        "test_a_line_that_was_given_before_anybody_asked_is_not_read": "stdin.stale-replies-dropped",
    },
    requests("input_reply", value="something else"),
)
mistake(
    "asks-who-may-not-be-asked",
    {
        "test_code_that_may_not_ask_fails": "stdin.not-allowed-error",
        "test_code_may_not_ask_if_nothing_is_said": "stdin.allow-default",
    },
    requests("execute_request", allow_stdin=True),
)
