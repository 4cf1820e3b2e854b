"""Mistakes of a client with replies and output, with what it asks the Hub and engines, and in waits."""

from collections.abc import Callable
from typing import Any

import pytest
from client_mischief import (
    ENGINES,
    QUERIES,
    REPLIES,
    WAITS,
    Patch,
    asking,
    deaf_after,
    fault,
    is_notification,
    method,
    told,
    without_reply,
)

from conformance.drivers import lines
from conformance.drivers.desk import Desk, _Awaited
from conformance.drivers.lines import Outcome, Problem, Told
from conformance.targets import virtualclient
from protocol.roles.base import Arrived, Event, Malformed
from protocol.roles.client import Client, ClientConfig, role
from protocol.roles.speech import content_of, parent_id
from protocol.wire import Message

# -- replies -----------------------------------------------------------------------------------------------------------


def _takes_the_oldest(patch: pytest.MonkeyPatch) -> None:
    real = Client._reply

    def reply(self: Client, socket: str, message: Message, effects: Any) -> None:
        oldest = next((msg_id for msg_id, one in self.open.items() if one.socket == socket), "")
        if oldest:
            self.open[oldest].engine = ""
        real(self, socket, message.replace(parent_header=dict(message.parent_header) | {"msg_id": oldest}), effects)

    patch.setattr(Client, "_reply", reply)


def _last_counts(patch: pytest.MonkeyPatch) -> None:
    real = Client._reply

    def reply(self: Client, socket: str, message: Message, effects: Any) -> None:
        msg_id = parent_id(message)
        if msg_id in self.replies and msg_id not in self.open:
            self.replies[msg_id] = [role._answer(message, "")]
        real(self, socket, message, effects)

    patch.setattr(Client, "_reply", reply)


def _outcomes(change: Callable[[Outcome], Outcome]) -> Patch:
    return method(Desk, "_outcomes", lambda real: lambda self, reply: [change(each) for each in real(self, reply)])


def _is_unexpected(self: Client, event: Event) -> bool:
    return (
        type(event) is Arrived
        and event.socket == "mux"
        and (parent_id(event.message) not in self.open or event.message.msg_type == "tomorrow_reply")
    )


def _is_unreadable(_: Client, event: Event) -> bool:
    return type(event) is Arrived and event.socket == "mux" and content_of(event.message) is None


def _forgets_at_the_end_of_a_wait(patch: pytest.MonkeyPatch) -> None:
    real = Client._time_is_up

    def time_is_up(self: Client, number: int) -> None:
        left = list(self.waits[number][1]) if number in self.waits else []
        real(self, number)
        for msg_id in left:
            self.open.pop(msg_id, None)

    patch.setattr(Client, "_time_is_up", time_is_up)


def _mixes_output(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Client, "outputs", lambda self, _: tuple(one for each in self.published.values() for one in each))


def _keeps_strangers_output(patch: pytest.MonkeyPatch) -> None:
    real = Client._published

    def published(self: Client, message: Message) -> None:
        if parent_id(message) not in self.published:
            message = message.replace(parent_header={"msg_id": next(reversed(self.published))})
        real(self, message)

    patch.setattr(Client, "_published", published)


fault(
    "takes-the-oldest",
    {
        f"{REPLIES}test_results_belong_to_their_calls_in_whatever_order_they_come": "apply.client-gets-own-result",
        f"{QUERIES}test_two_questions_get_each_their_own_reply": "client.replies-in-any-order",
        f"{QUERIES}test_a_reply_of_the_hub_to_nothing_does_not_matter": "client.strange-replies-harmless",
    },
    _takes_the_oldest,
)
fault(
    "in-order-of-arrival",
    {f"{REPLIES}test_results_of_several_engines_come_in_the_order_of_the_engines": "apply.client-gets-own-result"},
    told("_result", lambda ok: Told(results=tuple(reversed(ok.results or ())))),
)
fault(
    "swallows-errors",
    {
        f"{REPLIES}test_an_error_of_code_is_told": "client.error-told",
        f"{REPLIES}test_an_error_of_a_call_is_told_beside_the_other_results": "client.error-told",
        f"{REPLIES}test_an_aborted_request_is_told": "client.aborted-told",
        f"{REPLIES}test_a_refusal_of_the_scheduler_ends_a_task": "client.refusal-ends-task",
    },
    _outcomes(lambda each: each if each.status == "ok" else Outcome(status="ok")),
)
fault(
    "calls-aborted-an-error",
    {
        f"{REPLIES}test_an_aborted_request_is_told": "client.aborted-told",
        f"{QUERIES}test_what_was_taken_back_ends_as_aborted": "client.aborted-told",
    },
    _outcomes(lambda each: Outcome(status="error", ename="Aborted") if each.status == "aborted" else each),
)
fault(
    "forgets-at-the-end-of-a-wait",
    {f"{REPLIES}test_a_reply_after_the_end_of_a_wait_counts": "client.late-reply-counts"},
    _forgets_at_the_end_of_a_wait,
)
fault(
    "strict-about-replies",
    {f"{REPLIES}test_unknown_keys_of_a_reply_do_not_matter": "wire.content-extra-keys"},
    without_reply(lambda _, __, message: "of_tomorrow" in message.content),
)
fault(
    "wants-an-engine-in-front",
    {
        f"{REPLIES}test_a_refusal_of_the_scheduler_ends_a_task": "client.refusal-ends-task",
        f"{REPLIES}test_a_refusal_of_code_has_the_type_of_a_call": "client.refusal-ends-task",
    },
    without_reply(lambda _, socket, message: socket == "task" and not message.identities),
)
fault(
    "done-with-the-first",
    {f"{REPLIES}test_a_broadcast_is_done_when_every_engine_has_answered": "client.broadcast-collects"},
    method(
        Client, "_happens",
        lambda real: lambda self, msg_id, event, effects: real(
            self, msg_id, "last reply" if event == "a reply of several" else event, effects
        ),
    ),
)  # fmt: skip
fault(
    "wants-a-reply-of-each",
    {f"{REPLIES}test_one_reply_may_have_the_results_of_all_engines": "client.broadcast-collects"},
    method(
        Client, "_broadcast_reply",
        lambda real: lambda self, message, effects: (
            None if message.metadata.get("is_coalescing") else real(self, message, effects)
        ),
    ),
)  # fmt: skip
fault(
    "the-last-reply-counts",
    {
        f"{REPLIES}test_a_second_reply_changes_nothing": "client.first-reply-counts",
        f"{REPLIES}test_a_reply_after_the_death_of_its_engine_harms_nothing": "client.first-reply-counts",
    },
    _last_counts,
)
fault(
    "deaf-after-the-unexpected",
    {
        f"{REPLIES}test_a_reply_to_nothing_does_not_matter[unknown]": "client.strange-replies-harmless",
        f"{REPLIES}test_a_reply_to_nothing_does_not_matter[none]": "client.strange-replies-harmless",
        f"{REPLIES}test_a_reply_of_an_unknown_type_does_not_matter": "client.strange-replies-harmless",
        f"{REPLIES}test_a_reply_after_the_death_of_its_engine_harms_nothing": "client.strange-replies-harmless",
        f"{REPLIES}test_a_second_reply_changes_nothing": "wire.sender-recovers",
    },
    deaf_after(_is_unexpected),
)
fault(
    "deaf-after-the-malformed",
    {
        f"{ENGINES}test_a_forged_notification_changes_nothing": "wire.sender-recovers",
        f"{REPLIES}test_a_forged_reply_is_no_reply": "wire.sender-recovers",
        f"{REPLIES}test_after_frames_that_are_no_message_the_reply_counts": "wire.sender-recovers",
        f"{REPLIES}test_after_a_part_that_cannot_be_read_the_reply_counts[header]": "wire.sender-recovers",
        f"{REPLIES}test_after_a_part_that_is_no_object_the_reply_counts[header]": "wire.sender-recovers",
        f"{REPLIES}test_after_a_header_that_says_too_little_the_reply_counts": "wire.sender-recovers",
        f"{REPLIES}test_after_forged_output_the_next_counts": "wire.sender-recovers",
    },
    deaf_after(lambda _, event: type(event) is Malformed),
)
fault(
    "deaf-after-the-unreadable",
    {
        f"{REPLIES}test_a_damaged_reply_of_one_engine_harms_nothing_of_another": "wire.malformed-harms-nobody",
        "test_client_framing.py::test_damage_harms_nobody_else[mux]": "wire.malformed-harms-nobody",
    },
    deaf_after(_is_unreadable),
)
fault(
    "mixes-output",
    {
        f"{REPLIES}test_output_belongs_to_its_request[{order}]": "client.output-by-parent"
        for order in ("before", "after")
    },
    _mixes_output,
)
fault(
    "keeps-the-output-of-strangers",
    {
        f"{REPLIES}test_output_of_others_does_not_matter[{parent}]": "iopub.foreign-parents-tolerated"
        for parent in ("unknown", "none")
    },
    _keeps_strangers_output,
)
fault(
    "deaf-after-a-welcome",
    {f"{REPLIES}test_a_welcome_does_not_matter": "iopub.welcome-harmless"},
    deaf_after(is_notification("iopub_welcome")),
)

# -- questions ---------------------------------------------------------------------------------------------------------


def _first_only(_: str, about: dict[str, Any]) -> dict[str, Any]:
    return {key: value[:1] if isinstance(value, list) else value for key, value in about.items()}


def _no_errors(patch: pytest.MonkeyPatch) -> None:
    from conformance.drivers import desk

    patch.setattr(desk, "_expect_ok", list)


def _hub_first(self: Desk, command: lines.Shutdown) -> Any:
    yield from self._query("shutdown_request", {}, command.timeout)
    yield from self._control("shutdown_request", {"restart": False}, (2, 5), command.timeout)
    return Told()


def _reversed(ok: Told) -> Told:
    return Told(msg_ids=tuple(reversed(ok.msg_ids or ())))


fault(
    "asks-about-all",
    {f"{QUERIES}test_a_client_asks_what_engines_have_to_do[{to}]": "client.asks-hub" for to in ("one", "two")},
    asking(lambda _, about: about | {"targets": None} if "targets" in about else about),
)
fault(
    "tells-nothing-of-the-reply",
    {
        f"{QUERIES}test_a_client_asks_what_engines_have_to_do[all]": "client.asks-hub",
        f"{QUERIES}test_a_client_asks_what_is_done": "client.asks-hub",
    },
    lambda patch: (
        told("_queue_status", lambda _: Told(content={}))(patch),
        told("_result_status", lambda _: Told(content={}))(patch),
    )[0],
)
fault(
    "asks-for-the-first-only",
    {
        f"{QUERIES}test_a_client_asks_what_is_done": "client.asks-hub",
        f"{QUERIES}test_a_client_has_requests_sent_again": "client.asks-hub",
    },
    asking(_first_only),
)
fault(
    "purges-everything",
    {
        f"{QUERIES}test_a_client_has_requests_forgotten[{about}]": "client.asks-hub"
        for about in ("{'msg_ids': ('11111111-aa_1_0',)}", "{'to': (5,)}")
    },
    asking(lambda _, about: {"msg_ids": "all"} if "engine_ids" in about else about),
)
fault(
    "purges-nothing",
    {f"{QUERIES}test_a_client_has_requests_forgotten[{{'msg_ids': 'all'}}]": "client.asks-hub"},
    asking(lambda _, about: {"msg_ids": [], "engine_ids": []} if "engine_ids" in about else about),
)
fault(
    "mixes-ids",
    {f"{QUERIES}test_a_client_has_requests_sent_again": "client.asks-hub"},
    told("_resubmit", _reversed),
)
fault(
    "takes-what-waits-for-done",
    {f"{QUERIES}test_a_client_tells_what_became_of_what_was_sent_again": "client.asks-hub"},
    told("_result_of_hub", lambda _: Told(results=())),
)
fault(
    "looks-up-everything",
    {f"{QUERIES}test_a_client_has_records_looked_up[{which}]": "client.asks-hub" for which in ("all", "some")},
    asking(lambda _, about: about | {"query": {}} if "query" in about else about),
)
fault(
    "gives-all-buffers-to-the-first",
    {f"{QUERIES}test_a_client_has_records_looked_up[some]": "client.asks-hub"},
    told("_db_query", lambda ok: Told(records=tuple(each | {"buffers": [1, 20]} for each in ok.records or ()))),
)
fault(
    "turns-history", {f"{QUERIES}test_a_client_asks_for_all_requests": "client.asks-hub"}, told("_history", _reversed)
)
fault(
    "hears-no-refusals",
    {
        f"{QUERIES}test_a_refusal_of_the_hub_is_told": "client.error-told",
        f"{QUERIES}test_an_error_in_the_reply_of_the_hub_is_told": "client.error-told",
        f"{QUERIES}test_an_error_of_an_engine_is_told": "client.error-told",
    },
    _no_errors,
)
fault(
    "asks-one-engine",
    {
        f"{QUERIES}test_a_client_asks_each_engine_on_control[{which}]": "client.asks-engine"
        for which in ("abort", "clear", "signal", "shutdown")
    },
    method(
        Desk, "_control", lambda real: lambda self, kind, about, to, seconds: real(self, kind, about, to[:1], seconds)
    ),
)
fault(
    "ends-the-hub-first",
    {f"{QUERIES}test_the_hub_is_asked_to_end_when_the_engines_have_answered": "client.engines-before-hub"},
    lambda patch: patch.setattr(Desk, "_shutdown", _hub_first),
)

fault(
    "ends-at-the-first-word",
    {f"{QUERIES}test_the_reply_to_a_shutdown_counts_although_the_end_was_announced": "client.shutdown-ends-requests"},
    lambda patch: patch.setattr(virtualclient, "ClientConfig", lambda session: ClientConfig(session=session, grace=0)),
)

# -- waits -------------------------------------------------------------------------------------------------------------


def _waiting(change: Callable[[lines.Wait], lines.Wait]) -> Patch:
    return method(Desk, "_wait", lambda real: lambda self, command: real(self, change(command)))


def _wait_with(**fields: Any) -> Callable[[lines.Wait], lines.Wait]:
    import msgspec

    return lambda command: msgspec.structs.replace(command, **fields)


def _oversleeps(patch: pytest.MonkeyPatch) -> None:
    """Take a minute more for everything."""
    from conformance.drivers import desk

    real = desk._nanoseconds
    patch.setattr(desk, "_nanoseconds", lambda seconds: real(seconds + 60.0))


def _one_thing_at_a_time(patch: pytest.MonkeyPatch) -> None:
    real = Desk.take
    later: list[Any] = []

    def take(self: Desk, command: Any) -> None:
        if self._doing:
            later.append(command)
        else:
            real(self, command)
            while later and not self._doing:
                real(self, later.pop(0))

    patch.setattr(Desk, "take", take)


def _to_the_end(_: Any) -> Any:
    def wait(self: Desk, command: lines.Wait) -> Any:
        yield _Awaited(lambda: False, self._client.now() + round(command.timeout * 1e9))
        return Told(done=command.of)

    return wait


fault(
    "ends-with-the-first",
    {f"{WAITS}test_a_wait_for_several_requests_ends_with_the_last": "client.wait-all"},
    _waiting(_wait_with(until="first")),
)
fault(
    "waits-for-all",
    {f"{WAITS}test_a_wait_for_the_first_request_ends_with_it": "client.wait-first"},
    _waiting(_wait_with(until="all")),
)
fault(
    "does-not-wait",
    {
        f"{WAITS}test_a_wait_ends_when_its_time_is_over[later-all]": "client.wait-ends-in-time",
        f"{WAITS}test_a_wait_ends_when_its_time_is_over[later-first]": "client.wait-ends-in-time",
    },
    _waiting(_wait_with(timeout=0.0)),
)
fault(
    "oversleeps",
    {
        f"{WAITS}test_a_wait_ends_when_its_time_is_over[at once-all]": "client.wait-ends-in-time",
        f"{WAITS}test_a_wait_ends_when_its_time_is_over[at once-first]": "client.wait-ends-in-time",
        f"{WAITS}test_a_client_gives_up_a_silent_hub": "client.connect-ends-in-time",
        f"{WAITS}test_a_request_for_a_result_ends_when_its_time_is_over": "client.wait-ends-in-time",
        f"{WAITS}test_questions_that_nobody_answers_end": "client.query-ends-in-time",
    },
    _oversleeps,
)
fault(
    "says-that-nothing-is-done",
    {f"{WAITS}test_a_wait_that_is_not_for_all_says_which_are_done": "client.wait-ends-in-time"},
    told("_wait", lambda _: Told(done=())),
)
fault(
    "one-thing-at-a-time",
    {f"{WAITS}test_requests_are_sent_while_another_part_of_the_program_waits": "client.wait-beside-work"},
    _one_thing_at_a_time,
)
fault(
    "waits-to-the-end",
    {f"{WAITS}test_a_wait_for_what_is_done_ends_at_once": "client.wait-ends-in-time"},
    method(Desk, "_wait", _to_the_end),
)
fault(
    "names-nobody",
    {
        f"{WAITS}test_a_client_says_that_the_hub_is_silent": "client.silence-named",
        f"{WAITS}test_a_client_says_which_engine_is_silent": "client.silence-named",
        f"{WAITS}test_a_client_says_that_the_scheduler_is_silent": "client.silence-named",
        f"{WAITS}test_a_client_says_which_engines_of_a_broadcast_are_silent": "client.silence-named",
        f"{WAITS}test_questions_that_nobody_answers_end": "client.silence-named",
    },
    lambda patch: patch.setattr(Problem, "message", property(lambda _: "too late"), raising=False),
)
