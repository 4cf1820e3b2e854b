"""Mistakes of a Hub about registrations: who is taken, under which number, from when on and until when."""

from collections.abc import Sequence
from typing import Any

from conformance.mutants.changes import GONE, asked, content, deaf, edited, heard, parent, told, without, wrap
from conformance.mutants.mutant import Mutant
from protocol.roles.base import Arrived, Effect, Event, Fired, Send

REPLY = "registration_reply"
CAME, WENT = "registration_notification", "unregistration_notification"


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
    #: The first two keep theirs: the kit registers one or two engines of its own before any case begins.
    says = (told(CAME, lambda c: c | {"uuid": c["uuid"][:-1] if c["id"] > 1 else c["uuid"]}, status=""),)
