"""Mistakes of a Hub about engines: connections, registrations, and what it publishes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.mutants.changes import (
    GONE,
    asked,
    content,
    deaf,
    edited,
    heard,
    parent,
    told,
    twice,
    unheard,
    without,
    wrap,
)  # fmt: skip
from conformance.mutants.mutant import Mutant
from protocol.roles.base import Arrived, Effect, Event, Exit, Fired, Send
from protocol.roles.speech import error
from protocol.wire import Message

REFUSAL = error("ValueError", "no")
REPLY = "registration_reply"
CAME, WENT = "registration_notification", "unregistration_notification"


class Refusing(Mutant):
    """A Hub that answers some requests with an error, without a look at what they ask for."""

    def refuses(self, message: Message) -> bool:
        """Whether it does so with this one."""
        raise AssertionError(f"{self.name()} refuses nothing")

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """The refusal, or what the role does."""
        if isinstance(event, Arrived) and event.socket == "query" and self.refuses(event.message):
            return (Send("query", self.role.voice.answer(now, event.message, REFUSAL)),)
        return super().handle(now, event)


# -- connections -------------------------------------------------------------------------------------------------------


class ConnectsNobody(Refusing):
    """Everything that a client needs stands in its file."""

    breaks = ("connection.request-answered",)

    def refuses(self, message: Message) -> bool:
        """Connections."""
        return message.msg_type == "connection_request"


class WantsANameToConnect(Refusing):
    """Who connects should say who it is."""

    breaks = ("connection.request-needs-no-content",)

    def refuses(self, message: Message) -> bool:
        """Connections with unknown words, or without words after the first."""
        return message.msg_type == "connection_request" and bool(message.content)


class ListsOneEngine(Mutant):
    """One engine is enough to begin with."""

    breaks = ("connection.engines-listed",)
    says = (told("connection_reply", lambda c: c | {"engines": dict(list(c["engines"].items())[:1])}),)


class ListsPendingEngines(Mutant):
    """Who has registered is registered."""

    breaks = ("connection.only-heard-engines",)

    def prepare(self) -> None:
        """List all."""
        engines = self.role.engines
        engines.live = lambda: iter(engines.by_id.values())


class NeverForgetsAnEngine(Mutant):
    """It may come back."""

    breaks = ("connection.no-dead-engines",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Everybody who was ever listed."""
        if isinstance(effect, Send) and effect.message.msg_type == "connection_reply":
            engines = self.memory.setdefault("engines", {})
            engines |= effect.message.content["engines"]
            return (Send("query", effect.message.replace(content={"status": "ok", "engines": dict(engines)})),)
        return (effect,)


class ListsAnEngineTooLate(Mutant):
    """The list is made anew every second time."""

    breaks = ("connection.snapshot-agrees-with-notifications",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The list of the time before."""
        if isinstance(effect, Send) and effect.message.msg_type == "connection_reply":
            before, self.memory["list"] = self.memory.get("list", {}), effect.message.content["engines"]
            return (Send("query", effect.message.replace(content={"status": "ok", "engines": before})),)
        return (effect,)


class ServesOneKindOfPeer(Mutant):
    """Who is an engine is no client."""

    breaks = ("connection.same-socket-for-all", "connection.anyone-may-ask")

    def hear(self, event: Event) -> Sequence[Event]:
        """Whoever came first on this identity's socket asks for one kind of thing."""
        if isinstance(event, Arrived) and event.socket == "query" and event.message.msg_type == "registration_request":
            self.memory["an engine came"] = True
        if isinstance(event, Arrived) and event.message.msg_type == "connection_request" and self.memory:
            return ()
        return (event,)


class ServesClientsOnly(Mutant):
    """Engines have nothing to ask."""

    breaks = ("connection.anyone-may-ask",)

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing but a registration from who has a name of its own."""
        if isinstance(event, Arrived) and event.socket == "query" and event.message.msg_type == "connection_request":
            return () if event.message.identities[0][:1] != b"\0" else (event,)
        return (event,)


class Listed(Mutant):
    """A mutant that writes other connection files."""


class LeavesOutTheTaskScheme(Listed):
    """Clients need not know how tasks are placed."""

    breaks = ("connection.client-file-keys",)

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """One key less for clients."""
        return {key: value for key, value in content.items() if key != "task_scheme"}


class WritesPortsAsText(Listed):
    """An address is a text."""

    breaks = ("connection.engine-file-keys",)

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ports as texts."""
        return {key: str(value) if isinstance(value, int) else value for key, value in content.items()}


class GivesEnginesOnePort(Listed):
    """One port is as good as a list of one."""

    breaks = ("connection.broadcast-ports-shape",)

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """A number in the place of the list."""
        ports = content["broadcast"]
        return {**content, "broadcast": ports[0] if isinstance(ports, list) else ports}


class GivesClientsAKeyOfTheirOwn(Listed):
    """Clients should not be able to speak for engines."""

    breaks = ("connection.files-agree",)

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another key for clients."""
        return {**content, "key": "clients"} if which == "client" else content


# -- registrations -----------------------------------------------------------------------------------------------------


class RegistersSilently(Mutant):
    """Its heart will tell whether it worked."""

    breaks = ("registration.request-answered",)
    says = (without(REPLY),)


class GivesNoNumber(Mutant):
    """An engine has a uuid."""

    breaks = ("registration.reply-id",)
    says = (content(REPLY, status="ok", id=-1),)


class TellsNoAddresses(Mutant):
    """They stand in the file."""

    breaks = ("registration.reply-connection-info",)
    says = (content(REPLY, status="ok", connection_info=GONE),)


class TellsThePeriodInSeconds(Mutant):
    """Seconds are what people count in."""

    breaks = ("registration.reply-hb-period",)
    says = (told(REPLY, lambda c: c | {"hb_period": c["hb_period"] / 1000}),)


class NamesAnotherRequest(Mutant):
    """The parent of an answer is what came before."""

    breaks = ("registration.reply-parent",)
    says = (parent(REPLY, msg_id="another"),)


class TakesNamesakes(Mutant):
    """The newest of that name is the one that is meant."""

    breaks = (
        "registration.duplicate-uuid-refused", "registration.pending-uuid-refused",
    )  # fmt: skip

    def prepare(self) -> None:
        """Every name is free."""
        self.role.engines.is_free = lambda _: True


class RefusesInAnotherTongue(Mutant):
    """An error is an error."""

    breaks = ("registration.refusal-in-reply",)
    says = (edited(lambda m: m.replace(header=m.header | {"msg_type": "hub_error"}), REPLY, status="error"),)


class DropsTheFirstOfTwo(Mutant):
    """Of two with one name neither can be trusted."""

    breaks = ("registration.refusal-leaves-first-engine",)

    def hear(self, event: Event) -> Sequence[Event]:
        """Who has the name leaves before its namesake is refused."""
        if isinstance(event, Arrived) and event.message.msg_type == "registration_request":
            engine = self.role.engines.by_uuid.get(event.message.content.get("uuid"))
            if engine is not None:
                leave = event.message.replace(
                    header=event.message.header | {"msg_type": "unregistration_request", "msg_id": "leave"},
                    content={"id": engine.id},
                )
                return (event, Arrived("query", leave))
        return (event,)


class AnnouncesTheRefused(Mutant):
    """Who knocks is news."""

    breaks = ("registration.refusal-not-announced",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """An announcement with each refusal."""
        if (
            isinstance(effect, Send)
            and effect.message.msg_type == REPLY
            and effect.message.content["status"] == "error"
        ):
            for uuid, engine in self.role.engines.by_uuid.items():
                news = self.role.voice.say(now, CAME, {"id": engine.id + 100, "uuid": uuid})
                return (effect, Send("notification", news))
        return (effect,)


class GivesEverybodyNumberZero(Mutant):
    """There is hardly ever more than one engine."""

    breaks = ("registration.id-unique",)
    says = (content(REPLY, status="ok", id=0),)


class GivesNumbersAgain(Mutant):
    """Small numbers are nicer."""

    breaks = ("registration.id-never-reused",)

    def prepare(self) -> None:
        """The least number that nobody has now."""
        engines = self.role.engines

        def number(requested: int | None) -> int:
            free = next(each for each in range(10_000) if each not in engines.by_id)
            return free if requested is None or requested in engines.by_id else requested

        engines._number = number


class GivesWhatItLikes(Mutant):
    """A wish is a wish."""

    breaks = ("registration.requested-id-honoured",)
    hears = (heard(lambda m: m.replace(content=m.content | {"id": None}), "registration_request"),)


class SharesNumbers(Mutant):
    """Who asks for a number gets it."""

    breaks = ("registration.taken-id-not-shared",)

    def prepare(self) -> None:
        """Whatever was requested."""
        wrap(self.role.engines, "_number", lambda old, requested: old(None) if requested is None else requested)


class CountsOnFromItsOwn(Mutant):
    """Numbers on request are out of the row."""

    breaks = ("registration.id-counter-passes-requests",)

    def prepare(self) -> None:
        """A counter that nobody's wish moves."""
        engines = self.role.engines

        def number(requested: int | None) -> int:
            if requested is not None and not engines._was_given(requested):
                return requested
            given: int = engines.next_id
            engines._give(given)
            return given

        engines._number = number


class AnnouncesBeforeItHears(Mutant):
    """A heart that will beat soon beats."""

    breaks = ("registration.pending-until-heard",)

    def prepare(self) -> None:
        """Every registration is one with a beating heart."""
        wrap(self.role.engines, "add", self.add)

    def add(self, old: Any, uuid: str, requested: int | None) -> Any:
        """Take it up as if its heart had been heard."""
        self.role.engines.beating[uuid] = None
        return old(uuid, requested)


class HearsNoHeart(Mutant):
    """Hearts are not my business."""

    breaks = ("registration.heard-is-registered",)
    hears = (deaf("new_heart"),)


class WaitsForEver(Mutant):
    """A heart may be slow."""

    breaks = ("registration.pending-expires",)

    def hear(self, event: Event) -> Sequence[Event]:
        """No registration times out."""
        return () if isinstance(event, Fired) and event.timer.startswith("registration") else (event,)


class AnnouncesWhatExpires(Mutant):
    """Who went is gone, wherever it was."""

    breaks = ("registration.expiry-is-silent", "notification.no-death-without-life")

    def prepare(self) -> None:
        """The end of every engine is published."""
        wrap(self.role.engines, "happens", self.happens)

    def happens(self, old: Any, engine: Any, event: str) -> Any:
        """The step, and always news of an end."""
        step = old(engine, event)
        return step._replace(notification=WENT) if step is not None and step.state == "gone" else step


class KeepsWhatWasCancelled(Mutant):
    """Who is not here yet cannot leave."""

    breaks = ("registration.pending-unregistration-cancels",)

    def prepare(self) -> None:
        """Nobody leaves before it is registered."""
        wrap(
            self.role.engines, "happens",
            lambda old, engine, event: None if engine.state == "pending" and event == "leaves" else old(engine, event),
        )  # fmt: skip


class TakesTheNameless(Mutant):
    """Who has no name gets one."""

    breaks = ("registration.uuid-required",)
    hears = (asked("registration_request", lambda c: {"uuid": "nobody"} | c),)


class TakesAnyName(Mutant):
    """Everything can be written as a text."""

    breaks = ("registration.uuid-wrong-type-refused",)
    hears = (asked("registration_request", lambda c: c | ({"uuid": str(c["uuid"])} if "uuid" in c else {})),)


class TakesAnyNumber(Mutant):
    """What is no number is no wish."""

    breaks = ("registration.id-wrong-type-refused",)
    hears = (asked("registration_request", lambda c: c | {"id": i if isinstance(i := c.get("id"), int) and i >= 0
                                                          and not isinstance(i, bool) else None}),)  # fmt: skip


class KeepsTheNameOfTheRefused(Mutant):
    """A name that was used once is used."""

    breaks = ("registration.error-leaves-uuid-free",)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of every name, and refuse it the second time."""
        if isinstance(event, Arrived) and event.message.msg_type == "registration_request":
            uuid = event.message.content.get("uuid")
            if isinstance(uuid, str) and uuid in self.memory:
                return (Arrived("query", event.message.replace(content={"uuid": 7})),)
            if isinstance(uuid, str):
                self.memory[uuid] = True
        return (event,)


class LetsNobodyGo(Mutant):
    """A heart that stops is what counts."""

    breaks = (
        "registration.unregistration-honoured", "notification.unregistration-published",
    )  # fmt: skip
    hears = (deaf("unregistration_request"),)


class SaysGoodbye(Mutant):
    """Who leaves politely is answered politely."""

    breaks = ("registration.unregistration-unanswered",)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """An answer as well."""
        done = super().handle(now, event)
        if isinstance(event, Arrived) and event.message.msg_type == "unregistration_request":
            reply = self.role.voice.answer(now, event.message, {"status": "ok"})
            return (*done, Send("query", reply))
        return done


class TakesNobodyForTheFirst(Mutant):
    """Who does not say which one means the first."""

    breaks = ("registration.unregistration-unknown-harmless",)

    def hear(self, event: Event) -> Sequence[Event]:
        """The first engine leaves in the place of one that is not known."""
        if isinstance(event, Arrived) and event.message.msg_type == "unregistration_request":
            number = event.message.content.get("id")
            if not isinstance(number, int) or number not in self.role.engines.by_id:
                first = next(iter(self.role.engines.by_id), None)
                return (Arrived("query", event.message.replace(content={"id": first})),)
        return (event,)


class AnnouncesEachGoodbye(Mutant):
    """It was said twice, so it is news twice."""

    breaks = ("registration.unregistration-repeated-harmless", "notification.unregistration-once")

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """The news once more, if that engine is gone already."""
        done = super().handle(now, event)
        if isinstance(event, Arrived) and event.message.msg_type == "unregistration_request" and not done:
            number = event.message.content.get("id")
            uuid = self.role.engines.gone.get(number)
            if uuid is not None:
                return (Send("notification", self.role.voice.say(now, WENT, {"id": number, "uuid": uuid})),)
        return done


class TakesNobodyBack(Mutant):
    """Who left, left."""

    breaks = ("registration.can-return",)

    def prepare(self) -> None:
        """Names of those who are gone are not free."""
        wrap(self.role.engines, "is_free", lambda old, uuid: old(uuid) and uuid not in self.role.engines.gone.values())


class AnnouncesAnotherName(Mutant):
    """A name is for people, and people like it short."""

    breaks = ("registration.reachable-when-registered", "notification.registration-content")
    says = (told(CAME, lambda c: c | {"uuid": c["uuid"][:-1]}, status=""),)


# -- notifications -----------------------------------------------------------------------------------------------------


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


# -- the end -----------------------------------------------------------------------------------------------------------


class EndsWithoutAWord(Mutant):
    """The end is answer enough."""

    breaks = ("query.shutdown-answered",)
    says = (without("shutdown_reply"),)


class OnlySaysThatItEnds(Mutant):
    """Tomorrow will do."""

    breaks = ("query.shutdown-ends",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No end."""
        return () if isinstance(effect, Exit) else (effect,)
