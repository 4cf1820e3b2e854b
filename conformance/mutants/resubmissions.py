"""Mistakes of a Hub in what it has run once more."""

from collections.abc import Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import told, without, wrap
from conformance.mutants.mutant import Mutant
from conformance.mutants.refusals import REFUSAL, AnswersErrors, Refusing
from protocol.roles.base import Effect, Send, Store
from protocol.wire import Json, Message


class ResubmitsInSilence(Mutant):
    """Its result is answer enough."""

    breaks = ("query.resubmit-answered",)
    says = (without("resubmit_reply"),)


class ResubmitsUnderTheOldId(Mutant):
    """The same request has the same id."""

    breaks = ("query.resubmit-fresh-id",)
    says = (told("resubmit_reply", lambda c: c | {"resubmitted": {key: key for key in c["resubmitted"]}}),)


class ResubmitsNothing(Mutant):
    """It ran once."""

    breaks = ("task.resubmission-is-a-task", "query.resubmit-runs")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No task."""
        return () if isinstance(effect, Send) and effect.socket == "resubmit" else (effect,)


class ResubmitsSomethingLikeIt(Mutant):
    """Buffers were seen already."""

    breaks = ("query.resubmit-same-request",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """A task without buffers."""
        if isinstance(effect, Send) and effect.socket == "resubmit":
            return (Send("resubmit", effect.message.replace(buffers=(), content={})),)
        return (effect,)


class ResubmitsWithoutDemands(Mutant):
    """A second run should not wait."""

    breaks = ("query.resubmit-keeps-metadata",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """A task without metadata."""
        if isinstance(effect, Send) and effect.socket == "resubmit":
            return (Send("resubmit", effect.message.replace(metadata={})),)
        return (effect,)


class ResubmitsWhatItNeverHad(AnswersErrors):
    """What is not known needs no second run."""

    breaks = ("query.resubmit-unknown-refused",)
    replies = ("resubmit",)
    reply: ClassVar[Json] = {"status": "ok", "resubmitted": {}}


class ResubmitsWhatItCan(Mutant):
    """Half is better than nothing."""

    breaks = ("query.resubmit-all-or-nothing",)

    def prepare(self) -> None:
        """Submit what is known, and refuse all the same."""
        inquiries = self.role.inquiries

        def conclude(old: Any, now: int, message: Message, kept: Any, found: Any) -> Any:
            if message.msg_type != "resubmit_request":
                return old(now, message, kept, found)
            known = {record["msg_id"] for record in found[0]}
            answer = old(now, message, (tuple(msg_id for msg_id in kept[0] if msg_id in known),), found)
            return answer if known >= set(kept[0]) else answer._replace(content=REFUSAL)

        wrap(inquiries, "conclude", conclude)


class RefusesToResubmitNothing(Refusing):
    """Who wants nothing should not ask."""

    breaks = ("query.resubmit-empty",)

    def refuses(self, message: Message) -> bool:
        """Resubmissions of nothing."""
        return message.msg_type == "resubmit_request" and message.content.get("msg_ids") == []


class ForgetsWhatCameOfIt(Mutant):
    """Old and new have nothing to do with each other."""

    breaks = ("query.resubmit-recorded",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Old records name no new one."""
        return () if isinstance(effect, Store) and effect.arguments[-1].keys() == {"resubmitted"} else (effect,)
