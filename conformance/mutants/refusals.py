"""What mutants of several families share: they refuse what should be answered, or answer what should be refused."""

from collections.abc import Sequence
from typing import ClassVar

from conformance.mutants.mutant import Mutant
from protocol.roles.base import Arrived, Effect, Event, Send
from protocol.roles.speech import error
from protocol.wire import Json, Message

REFUSAL = error("ValueError", "no")


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


class AnswersErrors(Mutant):
    """A mutant that says `ok` where it should refuse; `reply` is what it says instead."""

    replies: ClassVar[tuple[str, ...]] = ()
    reply: ClassVar[Json] = {"status": "ok"}

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The other answer."""
        if isinstance(effect, Send) and effect.socket == "query" and effect.message.content.get("status") == "error":
            wanted = effect.message.parent_header.get("msg_type", "").removesuffix("_request")
            if wanted in self.replies:
                named = effect.message.header | {"msg_type": f"{wanted}_reply"}
                return (Send("query", effect.message.replace(header=named, content=dict(self.reply))),)
        return (effect,)
