"""Mistakes of a Hub in what it publishes of its engines and of its own end."""

from collections.abc import Sequence

from conformance.mutants.changes import GONE, content, edited, told, twice, unheard, without
from conformance.mutants.mutant import Mutant
from protocol.roles.base import Effect, Send

CAME, WENT = "registration_notification", "unregistration_notification"


class AnnouncesNobody(Mutant):
    """Who wants to know can ask."""

    breaks = ("notification.registration-published",)
    says = (without(CAME),)


class AnnouncesTwice(Mutant):
    """What is important is said twice."""

    breaks = ("notification.registration-once",)
    says = (twice(CAME),)


class TellsNoNumbers(Mutant):
    """A uuid is enough."""

    breaks = ("notification.registration-content",)
    says = (content(CAME, id=GONE),)


class BuriesTwice(Mutant):
    """What is important is said twice."""

    breaks = ("notification.unregistration-once",)
    says = (twice(WENT),)


class BuriesSomebodyElse(Mutant):
    """One number is like another."""

    breaks = ("notification.unregistration-content",)
    says = (told(WENT, lambda c: c | {"uuid": "somebody"}, status=""),)


class WaitsForTheHeartToo(Mutant):
    """An engine that says it ends may still change its mind."""

    breaks = ("notification.unregistration-on-shutdown",)
    hears = (unheard(lambda m: m.msg_type == "shutdown_reply", "monitor"),)


class BuriesBeforeItGreets(Mutant):
    """Bad news first."""

    breaks = ("notification.registered-before-unregistered", "notification.no-death-without-life")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """News of each engine's end before that of its beginning."""
        if isinstance(effect, Send) and effect.message.msg_type == CAME:
            return (Send("notification", self.role.voice.say(now, WENT, effect.message.content)), effect)
        return (effect,)


class PutsATopicInFront(Mutant):
    """Subscribers want to choose."""

    breaks = ("notification.no-topic",)
    says = (edited(lambda m: m.replace(identities=(b"engine",)), CAME, WENT),)


class NamesACause(Mutant):
    """Everything has a cause."""

    breaks = ("notification.parent-empty",)
    says = (edited(lambda m: m.replace(parent_header=m.header), CAME, WENT),)


class TellsThePastToo(Mutant):
    """Who comes late should know what happened."""

    breaks = ("notification.no-replay", "notification.registration-once")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """All news so far with each new one."""
        if isinstance(effect, Send) and effect.message.msg_type in (CAME, WENT):
            past = self.memory.setdefault("past", [])
            again = [Send("notification", self.role.voice.say(now, m.msg_type, m.content)) for m in past]
            past.append(effect.message)
            return (*again, effect)
        return (effect,)


class AnnouncesBeforeItActs(Mutant):
    """News are to be fast."""

    breaks = ("notification.follows-effect", "connection.snapshot-agrees-with-notifications")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Lists of engines are those of the last list."""
        if isinstance(effect, Send) and effect.message.msg_type == "connection_reply":
            before = self.memory.get("list", {})
            self.memory["list"] = effect.message.content["engines"]
            return (Send("query", effect.message.replace(content=effect.message.content | {"engines": before})),)
        return (effect,)


class EndsWithoutNews(Mutant):
    """Who listens will notice."""

    breaks = ("notification.shutdown-published",)
    says = (without("shutdown_notification"),)


class EndsWithoutACause(Mutant):
    """The end needs no reason."""

    breaks = ("notification.shutdown-parent",)
    says = (edited(lambda m: m.replace(parent_header={}), "shutdown_notification"),)


class CountsTheDeadAnew(Mutant):
    """The dead have numbers of their own."""

    breaks = ("notification.no-polling",)
    says = (told(WENT, lambda c: c | {"id": c["id"] + 1000}, status=""),)


class CallsThemAllTheSame(Mutant):
    """They are all engines."""

    breaks = ("registration.identity-unique",)
    shows_in = ("test_connection.py::test_the_reply_lists_every_engine",)
    says = (told("connection_reply", lambda c: c | {"engines": dict.fromkeys(c["engines"], "engine")}),)
