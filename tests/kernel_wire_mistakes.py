"""Mistakes of a kernel with what it is sent, whatever that asks for: heartbeats, envelopes, and what is damaged."""

from collections.abc import Callable, Sequence
from uuid import uuid4

from kernel_mischief import ERROR, becomes, down, late, lost, mistake

from conformance.relay.rewriting import Alter, Corrupt, Passing, Rule, of
from protocol.wire import Message

ASKED = ("kernel-shell", "kernel-control")

# -- heartbeats --------------------------------------------------------------------------------------------------------


def echoes(change: Callable[[tuple[bytes, ...]], Sequence[bytes]]) -> Callable[[], Rule]:
    """Heartbeats come back changed."""
    return lambda: Alter(
        down(channel="kernel-heartbeat"), lambda p: p.with_frames(change(tuple(map(bytes, p.hop.frames))))
    )


mistake(
    "a-heart-that-adds",
    {
        "test_a_heartbeat_comes_back_as_it_is": "kernel.heartbeat-echo",
        "test_several_frames_come_back_as_they_are": "kernel.heartbeat-echo",
        "test_one_socket_can_ping_again_and_again": "kernel.heartbeat-echo",
    },
    echoes(lambda frames: (*frames[:-1], frames[-1] + b"!")),
)
mistake(
    "a-heart-that-waits",
    {"test_a_heartbeat_comes_back_while_code_runs": "kernel.heartbeat-when-busy"},
    late(down(channel="kernel-heartbeat"), down("execute_reply"), across=True),
)
mistake(
    "no-heart",
    {
        "test_all_five_sockets_are_where_the_file_says": "kernel.binds-sockets",
        "test_control_and_heartbeat_are_served_while_code_waits": "stdin.others-work-while-waiting",
    },
    lost(down(channel="kernel-heartbeat")),
)


# -- envelopes ---------------------------------------------------------------------------------------------------------


def is_damaged(passing: Passing, channels: Sequence[str] = ASKED) -> bool:
    """Whether a frontend sent what is no message, on shell or control, or on these channels."""
    return passing.hop.is_up and passing.hop.channel in channels and passing.message is None


def _mended(passing: Passing) -> Passing:
    """A sound request in place of what is damaged."""
    head = {"msg_id": uuid4().hex, "msg_type": "kernel_info_request", "session": "mended", "username": "kit",
            "date": "2026-01-05T12:00:00Z", "version": "5.4"}  # fmt: skip
    return passing.with_frames(bytes(frame) for frame in passing.codec.encode(Message(head)))


def _forgetful() -> Rule:
    """What was heard before is heard as if it were new."""
    heard: set[tuple[bytes, ...]] = set()

    def renew(passing: Passing) -> Sequence[Passing] | None:
        if not passing.hop.is_up or passing.msg_type != "kernel_info_request":
            return None
        known, before = passing.hop.frames, len(heard)
        heard.add(tuple(map(bytes, known)))
        return (passing,) if len(heard) > before else (passing.replace(metadata={"copy": True}),)

    return renew


def _after_damage(rule: Callable[[], Rule], *channels: str) -> Callable[[], Rule]:
    """A rule that holds as soon as something damaged has passed, on shell or control or on these channels."""

    def make() -> Rule:
        inner, begun = rule(), [False]

        def follow(passing: Passing) -> Sequence[Passing] | None:
            begun[0] = begun[0] or is_damaged(passing, channels or ASKED)
            return inner(passing) if begun[0] else None

        return follow

    return make


mistake(
    "refuses-sound-questions",
    {
        "test_a_parent_that_is_no_object_is_taken_as_empty": "kernel.odd-parent-tolerated",
        "test_a_header_without_what_is_optional_is_answered": "wire.header-optional-fields",
        "test_a_header_with_more_is_answered_with_all_of_it": "wire.header-extra-keys",
        "test_a_request_of_another_version_is_answered": "wire.header-any-version",
        "test_buffers_that_belong_to_nothing_are_ignored": "wire.unexpected-buffers-ignored",
        "test_a_delimiter_among_the_buffers_is_one_of_them": "wire.first-delimiter-counts",
        "test_requests_of_other_types_are_not_aborted": "kernel.abort-spares-other-types",
        "test_messages_of_an_unknown_comm_are_ignored": "kernel.comm-unknown-id-ignored",
        "test_a_question_about_subshells_harms_nobody": "kernel.no-subshells-no-reply",
        "test_a_frontend_that_comes_back_is_answered_where_it_is": "kernel.socket-handover",
    },
    becomes("kernel_info_reply", "ok", ERROR),
)
mistake(
    "answers-what-is-damaged",
    {
        "test_a_multipart_without_delimiter_is_dropped": "kernel.malformed-dropped",
        "test_a_message_that_ends_too_early_is_dropped": "kernel.malformed-dropped",
        "test_a_message_with_a_wrong_signature_is_dropped": "wire.signature-verified",
        "test_an_altered_dictionary_is_dropped": "wire.signature-verified",
        "test_a_message_under_another_key_is_dropped": "wire.signature-verified",
        "test_a_signature_in_uppercase_is_refused": "wire.signature-uppercase-refused",
    },
    lambda: Alter(is_damaged, _mended),
)
mistake(
    "forgets-signatures",
    {
        "test_a_repeated_message_is_answered_once": "wire.replay-refused",
        "test_a_message_is_not_answered_again_on_another_channel": "kernel.replay-across-channels",
    },
    _forgetful,
)
mistake(
    "deaf-after-damage",
    {
        "test_what_cannot_be_read_harms_nobody": "wire.sender-recovers",
        "test_a_header_that_is_no_object_harms_nobody": "wire.sender-recovers",
    },
    _after_damage(lost(of("kernel_info_request", is_up=True))),
)
mistake(
    "fails-after-damage",
    {"test_others_do_not_notice_what_is_damaged": "wire.malformed-harms-nobody"},
    _after_damage(becomes("execute_reply", "ok", ERROR)),
)
mistake(
    "fails-after-damage-on-stdin",
    {"test_damage_harms_nobody_else": "wire.malformed-harms-nobody"},
    _after_damage(becomes("execute_reply", "ok", ERROR), "kernel-stdin"),
)
mistake(
    "loses-the-way-back",
    {"test_what_stands_before_the_delimiter_comes_back": "wire.reply-identities-echoed"},
    lambda: Alter(down("kernel_info_reply"), lambda p: p.replace(identities=())),
)
mistake(
    "signs-otherwise",
    {"test_a_kernel_signs_as_its_file_says": "wire.signature-scheme"},
    lambda: Corrupt(down("execute_reply"), frame=1),
)
mistake(
    "is-not-where-the-file-says",
    {
        "test_addresses_of_ipc_have_a_dash_before_the_port": "kernel.address-form",
        "test_addresses_of_tcp_have_a_colon_before_the_port": "kernel.address-form",
    },
    lost(of("execute_request", is_up=True)),
)
mistake(
    "control-is-somewhere-else",
    {"test_a_port_that_the_file_leaves_open_is_chosen_and_written_back": "kernel.port-zero-filled-in"},
    lost(of("kernel_info_request", is_up=True, channel="kernel-control")),
)
mistake(
    "a-kernel-with-a-key-and-an-old-file",
    {
        # What these cases ask for in the file of a fresh kernel, the file of this one does not say.
        "test_a_kernel_without_key_signs_nothing_and_accepts_everything": "wire.empty-key-unsigned",
        "test_a_file_with_a_key_of_tomorrow_is_read_and_kept": "kernel.connection-file-extra-keys",
        "test_after_its_welcome_a_subscriber_misses_nothing": "kernel.welcome-effective",
    },
)
