"""Mistakes of a Hub in what it tells of its history and finds in its database."""

from collections.abc import Sequence
from typing import ClassVar

from conformance.mutants.changes import asked, edited, told
from conformance.mutants.mutant import Mutant
from conformance.mutants.refusals import AnswersErrors
from protocol.roles.base import Arrived, Effect, Event, Query
from protocol.wire import Json


class TellsNoHistory(Mutant):
    """What is past is past."""

    breaks = ("query.history-answered",)
    says = (told("history_reply", lambda c: c | {"history": []}),)


class TellsTheLatestFirst(Mutant):
    """The latest is what matters."""

    breaks = ("query.history-order",)
    says = (told("history_reply", lambda c: c | {"history": c["history"][::-1]}),)


class TellsItTwice(Mutant):
    """Submitted and completed are two events."""

    breaks = ("query.history-once",)
    says = (told("history_reply", lambda c: c | {"history": c["history"] * 2}),)


class FindsNothing(Mutant):
    """Records are for the Hub."""

    breaks = ("query.db-answered", "query.db-all")
    says = (told("db_reply", lambda c: c | {"records": []}),)


class FindsTheFirst(Mutant):
    """One record is an example of all."""

    breaks = ("query.db-all",)
    says = (told("db_reply", lambda c: c | {"records": c["records"][:1]}),)


class Loose(Mutant):
    """A Hub whose database reads a query in its own way."""

    def loosened(self, query: Json) -> Json:
        """The query that is asked instead."""
        raise AssertionError(f"{self.name()} asks what was asked")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The other query, where a database request asks."""
        if isinstance(effect, Query) and self.memory.get("db"):
            return (effect._replace(arguments=(self.loosened(dict(effect.arguments[0])), *effect.arguments[1:])),)
        return (effect,)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of database requests."""
        self.memory["db"] = isinstance(event, Arrived) and event.message.msg_type == "db_request"
        return (event,)


class MindsOneCondition(Loose):
    """The first condition is the one that matters."""

    breaks = ("query.db-equality",)

    def loosened(self, query: Json) -> Json:
        """The first condition."""
        return dict(list(query.items())[:1])


class KnowsNoOperators(Loose):
    """Equal or not equal, there is nothing else."""

    breaks = ("query.db-operators", "query.db-glob")

    def loosened(self, query: Json) -> Json:
        """Conditions without operators."""
        return {key: value for key, value in query.items() if not isinstance(value, dict) or key == "msg_id"}


class KnowsNoPatterns(Loose):
    """A pattern is a text like any other."""

    breaks = ("query.db-glob",)

    def loosened(self, query: Json) -> Json:
        """Patterns are compared as they are."""
        return {k: {"$eq": v["$glob"]} if isinstance(v, dict) and "$glob" in v else v for k, v in query.items()}


class GivesEveryField(Mutant):
    """More is better."""

    breaks = ("query.db-keys",)
    hears = (asked("db_request", lambda c: c | {"keys": None}),)


class AlwaysGivesRecordsTheirBuffers(Mutant):
    """More is better."""

    breaks = ("query.db-buffers",)
    hears = (asked("db_request", lambda c: c | (
        {"keys": [*c["keys"], "buffers", "result_buffers"]} if isinstance(c.get("keys"), list) else {})),)  # fmt: skip


class ForgetsBuffersOfRecords(Mutant):
    """Buffers are large."""

    breaks = ("query.db-buffers",)
    says = (edited(lambda m: m.replace(buffers=()), "db_reply"),)


class CountsNoBuffers(Mutant):
    """Who has them can count."""

    breaks = ("query.db-buffer-lens",)
    says = (told("db_reply", lambda c: c | {"buffer_lens": None, "result_buffer_lens": None}),)


class UnderstandsEverything(AnswersErrors):
    """What makes no sense finds nothing."""

    breaks = ("query.db-bad-query",)
    replies = ("db",)
    reply: ClassVar[Json] = {"status": "ok", "records": [], "buffer_lens": None, "result_buffer_lens": None}


class TellsAnotherStory(Mutant):
    """A record is a summary."""

    breaks = ("query.db-agrees-with-result",)
    says = (told("db_reply", lambda c: c | {"records": [r | {"result_content": {"status": "ok", "summary": True}}
                                                        for r in c["records"]]}),)  # fmt: skip
