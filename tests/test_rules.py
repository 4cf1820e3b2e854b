"""Each rule against its recorded logs, and all rules against all logs that keep the protocol."""

import make_logs
import pytest
from log_query_scenarios import EMPTY, lists, result
from log_work_scenarios import Work

from protocol import recording, requirements
from protocol.recording import Recording
from protocol.rules import RULES, Judge, Rule, Setting, rules_for
from protocol.rules.parts import lost_keys
from protocol.world import SECOND, Fact

SCENARIOS = make_logs.load()
NAMES = [rule.name() for rule in RULES]
EVERYTHING = ("peer", "relay", "monitor", "state")


def stored(name: str, *, broken: bool) -> Recording:
    return recording.read(make_logs.path_of(name, broken=broken).read_text(encoding="utf-8").splitlines())


def judged(log: Recording, rules: tuple[type[Rule], ...] = RULES) -> Judge:
    judge = Judge(rules, log.setting, EVERYTHING)
    judge.feed(log.items, log.end)
    return judge


def test_every_rule_has_a_name_of_its_own_and_a_registered_requirement() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for rule in RULES:
        assert requirements.get(rule.slug).vantage == rule.vantage, rule
        assert rule.__doc__, rule


def test_every_rule_has_a_pair_of_logs_and_every_log_a_rule() -> None:
    wanted = {make_logs.path_of(name, broken=broken).name for name in NAMES for broken in (False, True)}
    assert {path.name for path in make_logs.LOGS.glob("*.jsonl")} == wanted
    assert set(SCENARIOS) == set(NAMES)


@pytest.mark.parametrize("broken", [False, True], ids=["accepted", "refused"])
@pytest.mark.parametrize("name", NAMES)
def test_a_stored_log_is_what_its_scenario_makes(name: str, broken: bool) -> None:
    assert make_logs.path_of(name, broken=broken).read_text(encoding="utf-8") == make_logs.render(name, broken=broken)


@pytest.mark.parametrize("name", NAMES)
def test_the_accepted_log_exercises_its_rule_and_accuses_nobody(name: str) -> None:
    judge = judged(stored(name, broken=False))
    assert [str(violation) for violation in judge.violations] == []
    assert name in judge.exercised_rules


@pytest.mark.parametrize("name", NAMES)
def test_the_refused_log_accuses_the_guilty_of_exactly_what_it_names(name: str) -> None:
    log = stored(name, broken=True)
    judge = judged(log)
    assert log.violations is not None
    told = {each.rule: each for each in log.violations}
    assert name in told
    assert {violation.rule for violation in judge.violations} == set(told), list(map(str, judge.violations))
    seqs = {item.seq for item in log.items}
    for violation in judge.violations:
        assert violation.requirement == told[violation.rule].requirement
        assert violation.guilty == told[violation.rule].guilty
        assert set(violation.evidence) <= seqs
        assert violation.allowed
        assert violation.found.strip()
    mine = [violation for violation in judge.violations if violation.rule == name]
    assert any(set(told[name].evidence) <= set(violation.evidence) for violation in mine)


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_alone_sees_what_it_sees_among_all(name: str) -> None:
    (rule,) = (rule for rule in RULES if rule.name() == name)
    log = stored(name, broken=True)
    alone = judged(log, (rule,)).violations
    assert alone == [violation for violation in judged(log).violations if violation.rule == name]
    assert alone


def test_what_was_not_seen_is_not_exercised() -> None:
    judge = Judge(RULES)
    judge.finish(0)
    assert judge.exercised == frozenset()
    assert judge.silent == judge.judged
    assert judge.violations == []


def test_a_rule_whose_vantage_is_not_offered_is_unobservable_and_never_exercised() -> None:
    name = "heartbeat.hearts-reported"
    log = stored(name, broken=True)
    judge = Judge(RULES, log.setting)
    judge.feed(log.items, log.end)
    assert judge.unobservable == {rule.slug for rule in RULES if rule.vantage != "peer"}
    assert name not in judge.exercised | judge.judged
    assert judge.violations == []


def test_a_dialect_has_only_the_rules_of_its_requirements() -> None:
    assert {rule.slug for rule in rules_for("ipyparallel-9")} == {rule.slug for rule in RULES}
    old = {rule.slug for rule in rules_for("ipython-0.1x")}
    assert "wire.all-parts-present" not in old
    assert "wire.reply-parent" in old


def test_a_new_controller_starts_a_new_epoch_in_which_ids_begin_again() -> None:
    log = stored("registration.id-unique", broken=True)
    cut = next(index for index, item in enumerate(log.items) if index and item.seq == 3)
    fact = Fact(seq=log.items[cut].seq, now=log.items[cut].now, observer="kit", name="controller-started")
    judge = Judge(RULES, log.setting)
    judge.feed([*log.items[:cut], fact, *log.items[cut:]], log.end)
    assert judge.violations == []
    assert "registration.reply-id" in judge.exercised


def test_an_id_is_free_when_a_registration_waited_too_long_under_a_name_that_somebody_had_before() -> None:
    story = make_logs.Story()
    story.live("a")
    story.ask("a", "unregistration_request", {"id": 0})
    story.went(0, "a")
    story.register("a", 5)
    story.wait(2 * SECOND)
    asked = story.ask("b", "registration_request", {"uuid": "b", "id": 5})
    story.answer(asked, "registration_reply", {**make_logs.OK, "id": 5, "hb_period": 100}, parent={})
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert {violation.requirement for violation in judge.violations} & {
        "registration.id-unique", "registration.id-never-reused",
    } == set()  # fmt: skip


def test_a_request_on_a_closed_socket_is_owed_nothing() -> None:
    log = stored("wire.every-request-answered", broken=True)
    closed = Fact(seq=2, now=log.items[-1].now, observer="kit", name="socket-closed", data={"socket": "client-1/query"})
    judge = Judge(RULES, log.setting)
    judge.feed([*log.items, closed], log.end)
    assert judge.violations == []


def test_who_bears_the_name_of_an_earlier_party_is_judged_as_that_was() -> None:
    story = make_logs.Story()
    former = story.ask("a", "registration_request", {"uuid": "former"})
    story.answer(former, "registration_reply", {**make_logs.OK, "id": 9, "hb_period": 100}, parent={})
    story.fact("socket-closed", socket="a/query")
    work = Work(story)
    request = work.submit()
    work.give(request)
    work.give(request)
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert "task.dispatches-bounded" in {violation.requirement for violation in judge.violations}


def test_before_its_deadline_a_request_is_not_yet_unanswered() -> None:
    log = stored("wire.every-request-answered", broken=True)
    judge = Judge(RULES, log.setting)
    judge.feed(log.items, log.items[-1].now + log.setting.reply_deadline_ns - 1)
    assert judge.violations == []


@pytest.mark.parametrize(
    "name",
    [
        "heartbeat.ping-periodic",
        "heartbeat.removal-in-time",
        "notification.shutdown-published",
        "registration.heard-is-registered",
        "registration.unregistration-honoured",
        "wire.every-request-answered",
    ],
)
def test_nobody_is_late_while_the_recorder_stalled(name: str) -> None:
    log = stored(name, broken=True)
    last = log.items[-1]
    # Nobody looked since the second after the start; what should have come by then may lie unread.
    stall = Fact(seq=last.seq + 1, now=log.end, observer="kit", name="stalled", data={"ns": log.end - SECOND})
    judge = Judge(RULES, log.setting)
    judge.feed([*log.items, stall], log.end)
    assert judge.violations == []


@pytest.mark.parametrize(("said", "accused"), [(b"1.1", True), (b"0.2", False), (b"?", True)])
def test_pings_that_only_the_recorder_saw_late_are_in_time(said: bytes, accused: bool) -> None:
    story = make_logs.Story()
    story.ping(text=b"0.1")
    story.wait(SECOND)
    story.ping(text=said)
    judge = Judge([rule for rule in RULES if rule.slug == "heartbeat.ping-periodic"], story.setting)
    judge.feed(story.items, story.now)
    assert bool(judge.violations) == accused


@pytest.mark.parametrize("stood_still", [False, True])
def test_pings_that_were_read_together_tell_no_time(stood_still: bool) -> None:
    story = make_logs.Story()
    story.wait(2 * SECOND)
    if stood_still:
        story.fact("stalled", ns=2 * SECOND)
    for number in range(6):
        story.ping(text=f"{number * 0.4 + 0.1:.1f}".encode())
    judge = Judge([rule for rule in RULES if rule.slug == "heartbeat.lifetime-tracks-period"], story.setting)
    judge.feed(story.items, story.now)
    assert bool(judge.violations) != stood_still


@pytest.mark.parametrize("mixed", [False, True])
def test_an_answer_that_may_belong_to_several_dropped_messages_is_pinned_on_none(mixed: bool) -> None:
    story = make_logs.Story()
    frames = story.frames(story.message("client-1", "connection_request", {}))
    if mixed:
        story.see("client-1", "query", "sent", frames[1:], why="no delimiter")
    story.see("client-1", "query", "sent", frames[:2], why="no dictionaries")
    cause = story.ask("client-1", "history_request", {})
    story.answer(cause, "hub_error", make_logs.ERROR, parent={})
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert [violation.rule for violation in judge.violations] == ([] if mixed else ["wire.all-parts-present.dropped"])


@pytest.mark.parametrize("part", range(4), ids=["header", "parent header", "metadata", "content"])
def test_a_number_that_json_lacks_is_found_in_every_dictionary(part: int) -> None:
    story = make_logs.Story()
    story.connect(parts={part: b'{"msg_id": "a", "msg_type": "connection_reply", "load": Infinity}'})
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert "wire.numbers-finite" in {violation.rule for violation in judge.violations}


@pytest.mark.parametrize("is_over", [False, True], ids=["pending", "expired"])
def test_only_a_registration_that_is_over_shows_that_its_end_is_silent(is_over: bool) -> None:
    story = make_logs.Story()
    story.fact("subscribed", socket="listener/notification")
    story.register("a")
    story.wait(2 * SECOND if is_over else 0)
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert judge.violations == []
    assert ("registration.expiry-is-silent" in judge.exercised) is is_over


def test_what_the_kit_sends_is_never_accused() -> None:
    story = make_logs.Story()
    story.see("client-1", "query", "sent", [b"no", b"message"], why="damage")
    story.see("a-heart", "heartbeat-pong", "sent", [b"<IDS|MSG>"], why="damage")
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert judge.violations == []
    assert judge.exercised == frozenset()


def test_times_of_a_death_follow_from_period_and_misses() -> None:
    setting = Setting(period_ns=10, allowed_misses=3)
    assert (setting.soonest_death_ns, setting.latest_death_ns) == (40, 50)


def accuses(story: make_logs.Story, slug: str) -> bool:
    """Whether a rule finds in a story that a requirement is broken."""
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    return slug in {violation.requirement for violation in judge.violations}


def test_what_is_listed_though_completed_is_told_once() -> None:
    story = make_logs.Story()
    for _ in range(2):
        result(story, ["m1"], [], ["m1"], only=True)
        lists(story, {"0": EMPTY | {"queue": ["m1"]}})
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert [each.found for each in judge.violations] == ["['m1'] listed, though completed"]


@pytest.mark.parametrize("is_damaged", [True, False])
def test_an_answer_named_after_a_request_that_does_not_exist_is_no_strange_type(is_damaged: bool) -> None:
    story = make_logs.Story()
    request = story.message("client-1", "tomorrow_request", {}, metadata={"targets": [["a", 0]]}, buffers=[b"call"])
    if is_damaged:
        story.see("client-1", "broadcast", "sent", story.frames(request), why="a type of another channel")
    reply = story.message("scheduler", "tomorrow_reply", make_logs.ERROR, parent=request.header)
    story.see("client-1", "broadcast", "received", story.frames(reply))
    assert accuses(story, "wire.message-type-known") is not is_damaged


@pytest.mark.parametrize("is_damaged", [True, False])
def test_an_engine_that_repeats_the_mistake_of_a_broadcast_has_not_made_it(is_damaged: bool) -> None:
    story = make_logs.Story()
    about = {"targets": [["a", 0]], "is_broadcast": True, "is_coalescing": "x"}
    request = story.message("client-1", "apply_request", {}, metadata=about, buffers=(b"f", b"", b""))
    if is_damaged:
        story.see("client-1", "broadcast", "sent", story.frames(request), why="a flag is wrong")
    copy = {**request.header, "msg_id": f"{request.msg_id}_a"}
    told = {
        "is_broadcast": True,
        "is_coalescing": "x",
        "original_msg_id": request.msg_id,
        "status": "ok",
        "engine": "a",
    }
    reply = story.message("a", "apply_reply", make_logs.OK, parent=copy, metadata=told)
    story.see("client-1", "broadcast", "received", story.frames(reply))
    assert accuses(story, "wire.metadata-matches-type") is not is_damaged


@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_registration_reply_may_be_about_a_later_request_than_one_that_makes_no_sense(is_damaged: bool) -> None:
    story = make_logs.Story()
    first = story.message("a", "registration_request", {"uuid": "a"})
    damaged = {3: b'\xff{"uuid":"a"}'} if is_damaged else {}
    story.see("a", "query", "sent", story.frames(first, damaged), why="no text" if is_damaged else None)
    second = story.message("a", "registration_request", {"uuid": "a"}, identities=(b"x",))
    story.see("a", "query", "sent", story.frames(second))
    reply = story.message("hub", "registration_reply", {**make_logs.OK, "id": 0}, identities=(b"x",))
    story.see("a", "query", "received", story.frames(reply))
    assert accuses(story, "wire.reply-identities-echoed") is not is_damaged


@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_tree_that_sends_a_mistaken_request_on_has_not_made_the_mistake(is_damaged: bool) -> None:
    story = make_logs.Story()
    metadata = {"targets": [["a", 0]], "is_broadcast": True, "is_coalescing": False}
    request = story.message("client-1", "apply_request", {}, metadata=metadata)
    if is_damaged:
        story.see("client-1", "broadcast", "sent", story.frames(request), why="no buffers")
    given = story.message("client-1", "apply_request", {}, metadata=metadata | {"original_msg_id": request.msg_id})
    story.see("a", "broadcast", "received", story.frames(given))
    assert accuses(story, "wire.buffer-count") is not is_damaged


@pytest.mark.parametrize(
    ("part", "value", "slug"),
    [
        (3, b"[1", "wire.parts-readable"),
        (1, b'"x"', "wire.parts-are-objects"),
        (3, b'{"a": -Infinity}', "wire.numbers-finite"),
    ],
    ids=["content", "parent header", "number"],
)
@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_tree_that_sends_unreadable_parts_on_has_not_made_them(
    part: int, value: bytes, slug: str, is_damaged: bool
) -> None:
    story = make_logs.Story()
    metadata = {"targets": [["a", 0]], "is_broadcast": True, "is_coalescing": False}
    request = story.message("client-1", "apply_request", {}, metadata=metadata, buffers=[b"f", b"info"])
    if is_damaged:
        story.see("client-1", "broadcast", "sent", story.frames(request, {part: value}), why="a part is wrong")
    given = story.message("client-1", "apply_request", {}, buffers=[b"f", b"info"],
                          metadata=metadata | {"original_msg_id": request.msg_id})  # fmt: skip
    story.see("a", "broadcast", "received", story.frames(given, {part: value}))
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert (slug in {violation.requirement for violation in judge.violations}) is not is_damaged


def test_a_task_with_a_strange_parent_header_is_still_that_task() -> None:
    story = make_logs.Story()
    story.fact("overheard", socket="hub/monitor")
    for number in range(2):
        task = story.message("client-1", "apply_request", {}, parent={"odd": number}, buffers=[b"f", b"info"],
                             identities=(b"intask", b"client-1"))  # fmt: skip
        story.see("hub", "monitor", "received", story.frames(task))
    judge = Judge(RULES, story.setting, EVERYTHING)
    judge.feed(story.items, story.now)
    assert "task.intask-before-destination" not in {violation.requirement for violation in judge.violations}
    assert "task.intask-before-destination" in judge.exercised


@pytest.mark.parametrize("session", [["a"], {"a": 1}, None, 7], ids=repr)
def test_a_header_may_say_anything_of_its_session(session: object) -> None:
    story = make_logs.Story()
    strange = story.message("client-1", "connection_request", {}, header={"session": session})
    asked = story.see("client-1", "query", "sent", story.frames(strange), why="a strange session")
    story.answer(asked, "connection_reply", {**make_logs.OK, "engines": {}})
    for _ in range(2):
        given = story.message("hub", "apply_request", {}, header={"session": session, "msg_id": "the same"},
                              buffers=(b"f", b"info"))  # fmt: skip
        story.see("a", "mux", "received", story.frames(given))
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert "wire.msg-id-unique" in judge.exercised


def test_a_registration_is_answered_without_a_name_though_something_was_dropped_before() -> None:
    story = make_logs.Story()
    forged = story.frames(story.message("a", "registration_request", {"uuid": "a"}))
    story.see("a", "query", "sent", [forged[0], b"0" * 64, *forged[2:]], why="a wrong signature")
    asked = story.ask("a", "registration_request", {"uuid": "a"})
    granted = {**make_logs.OK, "id": 0, "hb_period": 100, "connection_info": {}}
    story.answer(asked, "registration_reply", granted, parent={})
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert "wire.unauthenticated-unanswered" not in {violation.requirement for violation in judge.violations}
    story.answer(asked, "registration_reply", {**granted, "id": 1}, parent={})
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert judge.violations


@pytest.mark.parametrize(
    ("sent", "back", "is_kept"),
    [(10**30, 1e30, True), (10**30, 10**30, True), (10**30, 1e29, False), (7, 7.0, True), (7, 8, False),
     (2**64, True, False), (10**400, 1e300, False)],
)  # fmt: skip
def test_a_number_comes_back_as_exactly_as_json_promises(sent: int, back: object, is_kept: bool) -> None:
    assert lost_keys({"msg_id": "a", "count": sent}, {"msg_id": "a", "count": back}) == ([] if is_kept else ["count"])


def test_a_registration_that_could_be_read_in_part_may_be_granted() -> None:
    story = make_logs.Story()
    granted = {**make_logs.OK, "hb_period": 100, "connection_info": {}}
    first = story.ask("a", "registration_request", {"uuid": "a"})
    story.answer(first, "registration_reply", {**granted, "id": 0}, parent={})
    second = story.frames(story.message("a", "registration_request", {"uuid": "b"}), {2: b"[]"})
    story.see("a", "query", "sent", second, why="metadata that are no object")
    story.answer(first, "registration_reply", {**granted, "id": 1}, parent={})
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert "wire.at-most-one-reply" not in {violation.requirement for violation in judge.violations}


def test_an_error_without_a_name_is_no_late_answer_to_what_was_passed_over() -> None:
    story = make_logs.Story()
    story.ask("client-1", "registration_request", {})
    story.connect()
    frames = story.frames(story.message("client-1", "connection_request", {}))
    story.see("client-1", "query", "sent", [frames[0], b"0" * 64, *frames[2:]], why="a wrong signature")
    story.answer(story.items[-1], "hub_error", make_logs.ERROR, parent={})
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    accused = {violation.requirement for violation in judge.violations}
    assert "wire.unauthenticated-unanswered" in accused
    assert "wire.reply-parent" not in accused


@pytest.mark.parametrize(("original", "accused"), [({"an": "object"}, False), ("never-sent", True)])
def test_a_copy_of_a_broadcast_whose_id_is_no_text_is_pinned_on_nobody(original: object, accused: bool) -> None:
    story = make_logs.Story()
    story.fact("recorded-from-the-start")
    copy = story.message("tree", "apply_request", {}, metadata={"original_msg_id": original})
    story.see("engine-1", "broadcast", "received", story.frames(copy))
    judge = Judge([rule for rule in RULES if rule.slug == "wire.nothing-invented"], story.setting)
    judge.feed(story.items, story.now)
    assert bool(judge.violations) == accused
