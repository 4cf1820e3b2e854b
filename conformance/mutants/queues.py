"""Mistakes of a Hub in what it tells of queues and loads."""

from collections.abc import Callable

from conformance.mutants.changes import GONE, asked, other, told, without
from conformance.mutants.mutant import Change, Mutant
from conformance.mutants.refusals import AnswersErrors, Refusing
from protocol.wire import Json, Message

FIXED = ("status", "unassigned")


def entries(edit: Callable[[Json], Json]) -> Change:
    """Each entry of a queue reply is what is made of it."""
    return told(
        "queue_reply", lambda c: {key: value if key in FIXED else edit(dict(value)) for key, value in c.items()}
    )


class TellsOfAllEngines(Mutant):
    """More is better."""

    breaks = ("query.queue-targets-list",)
    hears = (asked("queue_request", lambda c: c | ({"targets": None} if isinstance(c.get("targets"), list) else {})),)


class WantsAList(Mutant):
    """One engine is a list of one."""

    breaks = ("query.queue-target-int",)
    hears = (asked("queue_request", lambda c: c | ({"targets": {}} if isinstance(c.get("targets"), int) else {})),)


def _names_a_uuid(targets: object) -> bool:
    return any(isinstance(each, str) for each in (targets if isinstance(targets, list) else [targets]))


class WantsNumbers(Mutant):
    """Engines have numbers."""

    breaks = ("query.queue-target-uuid",)
    hears = (asked("queue_request", lambda c: c | ({"targets": {}} if _names_a_uuid(c.get("targets")) else {})),)


class TellsOfTheFirstEngine(Mutant):
    """Who asks about all wants an example."""

    breaks = ("query.queue-request-all-engines",)
    says = (told("queue_reply", lambda c: other(c, dict.fromkeys(list(c)[2:-1], GONE))),)


class RefusesWhenNobodyIsThere(Refusing):
    """There is nothing to tell."""

    breaks = ("query.queue-no-engines",)

    def refuses(self, message: Message) -> bool:
        """Questions about queues without engines."""
        return message.msg_type == "queue_request" and not self.role.engines.by_id


class StumblesOverTheDead(Refusing):
    """Somebody has left; nobody knows what that means for the rest."""

    breaks = ("query.queue-dead-engines-listed",)

    def refuses(self, message: Message) -> bool:
        """Questions about all engines when one has left."""
        return message.msg_type == "queue_request" and bool(self.role.engines.gone)


class TellsNotOfTasks(Mutant):
    """Tasks are the scheduler's."""

    breaks = ("query.queue-three-keys",)
    says = (entries(lambda e: other(e, {"tasks": GONE})),)


class AlwaysLists(Mutant):
    """Who has the list can count."""

    breaks = ("query.queue-counts", "query.queue-verbose-default")
    hears = (asked("queue_request", lambda c: c | {"verbose": True}),)


class AlwaysCounts(Mutant):
    """Lists are long."""

    breaks = ("query.queue-verbose-lists",)
    hears = (asked("queue_request", lambda c: c | {"verbose": False}),)


class ListsUnlessToldNotTo(Mutant):
    """The default is more."""

    breaks = ("query.queue-verbose-default",)
    hears = (asked("queue_request", lambda c: {"verbose": True} | c),)


class CountsOneMore(Mutant):
    """Counting begins with one."""

    breaks = ("query.queue-counts-match-lists",)
    says = (entries(lambda e: {key: value + 1 if isinstance(value, int) else value for key, value in e.items()}),)


class KnowsNoQueue(Mutant):
    """What is under way is under way."""

    breaks = ("query.queue-mux-outstanding", "query.load-answered")
    says = (
        entries(lambda e: e | {"queue": type(e["queue"])()}),
        told("load_reply", lambda c: {key: value if key == "status" else 0 for key, value in c.items()}),
    )


class KnowsNoTasks(Mutant):
    """Tasks are the scheduler's."""

    breaks = ("query.queue-tasks-outstanding",)
    says = (entries(lambda e: e | {"tasks": type(e["tasks"])()}),)


class CompletesOneQueueOnly(Mutant):
    """Tasks are nobody's work."""

    breaks = ("query.queue-completed-any-queue",)
    says = (entries(lambda e: e | {"completed": type(e["completed"])()}),)


class GivesEveryTaskToAll(Mutant):
    """A task that is somewhere is a task of everybody."""

    breaks = ("query.queue-pure-tasks-empty",)
    says = (told("queue_reply", lambda c: {
        key: value if key in FIXED else value | {"tasks": c["unassigned"]} for key, value in c.items()}),)  # fmt: skip


class TellsNotOfWaitingTasks(Mutant):
    """What nobody has is nowhere."""

    breaks = ("query.queue-unassigned",)
    says = (told("queue_reply", lambda c: other(c, {"unassigned": GONE})),)


class KnowsEveryEngine(AnswersErrors):
    """An engine that nobody knows has nothing to do."""

    breaks = ("query.queue-unknown-engine", "query.queue-empty-targets", "query.load-targets-checked")
    replies = ("queue", "load")


class LoadsHalf(Mutant):
    """Tasks are no load of an engine."""

    breaks = ("query.load-is-sum",)
    says = (told("load_reply", lambda c: {k: v if k == "status" else min(v, 1) for k, v in c.items()}),)


class KnowsNoLoad(Mutant):
    """A load is a sum that anybody can make."""

    breaks = ("query.load-answered",)
    says = (without("load_reply"),)
