"""Mistakes of the broken engine in what needs Python: calls. All others are mutants of `conformance/mutants`."""

from engine_mischief import A, P, buffers, content, fault, leaving, metadata, without

from protocol.applybuffers import pack_object

BAD_CALL = "test_buffers_that_are_no_call_are_answered_with_an_error"

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
        lambda m: m.replace(buffers=pack_object(bytes(m.buffers[1]), 1 << 30)) if len(m.buffers) == 2 else m
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
fault(
    "silent-about-dependencies",
    {f"{A}test_the_metadata_say_how_where_and_when_it_ran[TARGET-ok]": "apply.metadata-dependencies-met"},
    leaves=metadata("dependencies_met", ..., "apply_reply"),
)
fault(
    "never-refuses",
    {f"{A}test_a_call_whose_condition_is_unmet_is_refused": "dependency.engine-check"},
    leaves=metadata("dependencies_met", True, "apply_reply"),
)
fault(
    "hides-errors",
    {f"{P}test_an_error_of_a_call_is_published_too": "iopub.error-published"},
    leaves=without("error"),
)
