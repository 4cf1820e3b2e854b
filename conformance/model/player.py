"""Plays a conversation on a controller, and keeps the ledger of it.

Whoever is named for the first time comes. Nothing is waited for but where all is to be quiet: what arrives meanwhile is
taken in as it comes, on whatever socket, so that steps overlap as those of strangers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from conformance.harness.hearts import no_answer
from conformance.model import views
from conformance.model.files import check_files
from conformance.model.ledger import Cast, Job, Peer
from conformance.model.matters import Matter, open_matters
from conformance.model.mischief import Mischief
from conformance.model.questions import Question
from conformance.model.steps import Conversation, Step
from protocol.rules import Violation
from protocol.rules.parts import content_of, parent_of
from protocol.world import MILLISECOND, Observation

if TYPE_CHECKING:
    from conformance.harness.controller import Controller
    from protocol.wire import Message

#: How many requests to the Hub may be under way at once.
UNANSWERED: Final = 12
#: What is published and caused by nobody.
TOLD: Final = ("registration_notification", "unregistration_notification")
#: What one step takes at least, where time does not pass by itself.
MOMENT: Final = MILLISECOND // 2
#: How long to wait for what is open before it is worked out anew what that is.
GLANCE: Final = 50 * MILLISECOND


class Player(Mischief):
    """See the module. One player plays one conversation; `avoid` are kinds of behaviour that are left out."""

    def __init__(
        self,
        controller: Controller,
        *,
        hwm: int = 1,
        avoid: frozenset[str] = frozenset(),
        is_known: Callable[[str, str], bool] = lambda _slug, _found: False,
    ) -> None:
        super().__init__(controller, hwm=hwm, avoid=avoid, is_known=is_known)
        self._undecided = False
        self._heard = 0

    # -- the course of a conversation --------------------------------------------------------------------------------

    def play(self, step: Step) -> None:
        """Do what a step says, and let what it causes begin."""
        if self.book.is_ended:
            return
        self.steps.append(step)
        self.marks.append(len(self.world.observations))
        self.book.now = self.world.now
        getattr(self, f"do_{type(step).__name__.lower()}")(step)
        # Virtual time passes only while somebody waits.
        self.world.run_until(lambda: False, self.world.now + (MOMENT if self.is_virtual else 0))
        self._listen()
        if len(self.asked) > UNANSWERED:
            self.flush()

    def finish(self) -> None:
        """Let everything that is open be done, prove that everybody can still work, and compare all views."""
        if self.book.is_ended:
            return
        self.book.now = self.world.now
        for _ in range(20):
            self.settle()
            if not any(peer.open() or peer.broadcasts for peer in self.book.peers):
                break
            self.answer_all()
        self.probe()
        for _ in range(4):
            self.settle()
            if not any(peer.open() or peer.broadcasts for peer in self.book.peers):
                break
            self.answer_all()
        views.compare(self)

    def leave(self) -> None:
        """Let all engines unregister, and wait until that is announced: whoever comes next shall meet nobody."""
        staying = [peer for peer in self.book.peers if peer.engine.is_open and peer.engine.id is not None]
        handled: list[str] = []
        for peer in staying:
            peer.engine.unregister()
            if not self.book.is_ended:
                # What is answered after it shows that it has arrived.
                handled.append(self.ask(peer.engine, Question("connection_request")).msg_id)
            # The end of a case would ask for an answer on a socket that a listener has.
            peer.engine.id = None
            peer.engine.stop_heart()
        if staying and not self.book.is_ended:
            last = self.world.now + self.timing.reply_deadline
            self.world.run_until(lambda: not self._remaining() and all(each in self.answers for each in handled), last)

    def _remaining(self) -> list[Peer]:
        self._listen()
        return self.book.here

    def violations(self, *, is_last: bool = False) -> list[Violation]:
        """What the rules and the ledger found, in the order in which it was found.

        If this was the controller's last conversation, the rules also say what never happened.
        """
        found = self.controller.judge_rest() if is_last else self.controller.judge_new()
        return sorted([*found, *self.book.findings], key=lambda each: each.now)

    @property
    def is_undecided(self) -> bool:
        """Whether the harness itself was too slow to say anything about silence."""
        return self._undecided

    # -- waiting -----------------------------------------------------------------------------------------------------

    def do_quiet(self, _: Step) -> None:
        """Wait until nothing is under way, then compare."""
        self.settle()
        views.compare(self)
        for peer in self.book.peers:
            if peer.state == "gone" and peer.engine.is_open:
                # Until the next time its heart may try to bring it back.
                if peer.is_over:
                    self._vanish(peer.engine)
                peer.is_over = True

    def flush(self) -> None:
        """Wait until all questions are answered."""
        since = self.world.now
        self.world.run_until(lambda: not self.asked, since + self.timing.reply_deadline)
        self._listen()
        for msg_id, (message, question, _) in list(self.asked.items()):
            del self.asked[msg_id]
            if self.is_steady(since, self.timing.reply_deadline):
                found = f"no answer to {message.msg_type} {question.content!r:.100}"
                slug = question.slug if question.why is not None else "wire.every-request-answered"
                self.book.accuse(slug, found, "a reply or an error")

    def settle(self) -> None:
        """Wait until every matter is closed, and until the Hub knows as much."""
        self.flush()
        since = self.world.now
        # What one matter waits for may open another one.
        while True:
            open_ones = self._open(since)
            if not open_ones:
                break
            late = [matter for matter in open_ones if matter.due <= self.world.now]
            for matter in late:
                self._close(matter, since)
            if not late:
                # What waits for a time to pass shows in nothing that arrives.
                soon = min(self.world.now + GLANCE, *(matter.due for matter in open_ones))
                self.world.run_until(lambda: not self._open(since), soon)
        self._await_hub()

    def _open(self, since: int) -> list[Matter]:
        self._listen()
        return list(open_matters(self.book, self.timing, since))

    def _close(self, matter: Matter, since: int) -> None:
        """Accuse whoever let a matter's time pass, and expect nothing more of it."""
        if self.is_steady(since, self.timing.reply_deadline):
            self.book.accuse(matter.slug, matter.found, matter.allowed, evidence=matter.evidence)
        whose = matter.whose
        if isinstance(whose, Peer):
            whose.state = "refused" if whose.state in ("asked", "pending") else "gone"
            whose.is_doubtful, whose.gone_at = True, self.world.now
        elif isinstance(whose, Job | Cast):
            whose.is_muddled = True

    def is_steady(self, since: int, limit: int) -> bool:
        """Whether the harness itself looked often enough for silence to mean something."""
        if self.world.longest_stall(since) * 5 > limit:
            self._undecided = True
        return not self._undecided

    def _await_hub(self) -> None:
        """Ask the Hub where the requests are until it knows what has become of each since all was quiet."""
        fresh = [job for job in self.book.jobs if job.is_fresh and not job.is_muddled and not job.is_purged]
        for job in self.book.jobs:
            job.is_fresh = False
        certain = [job for job in fresh if self.book.place(job) is not None]
        if not certain:
            return
        views.await_places(self, certain)

    # -- what arrives ------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Take in what the Hub has announced."""
        self.book.now = self.world.now
        heard = self.controller.notifications.heard
        for seen in heard[self._heard :]:
            message = seen.message
            if message is None:
                continue
            if message.msg_type in TOLD and parent_of(message):
                found = f"the parent header {parent_of(message)!r:.150}"
                self.book.accuse("notification.parent-empty", found, "an empty one", evidence=(seen,))
            uuid = content_of(message).get("uuid")
            peers = [peer for peer in self.book.peers if peer.uuid == uuid and peer.state not in ("gone", "refused")]
            if not peers:
                if self.book.is_strange(uuid):
                    self._note_stranger(message, str(uuid), seen)
                else:
                    self._check_revival(message, uuid, seen)
                continue
            if message.msg_type == "registration_notification" and peers[-1].state in ("asked", "pending"):
                peers[-1].state = "here"
                if peers[-1].is_faint or not peers[-1].beats:
                    # It has beaten, which is enough to be registered, and does so no more.
                    peers[-1].state, peers[-1].beats = "leaving", False
            elif message.msg_type == "unregistration_notification":
                self._check_end(peers[-1], seen)
                self._gone(peers[-1], seen)
        self._heard = len(heard)

    def _note_stranger(self, message: Message, uuid: str, seen: Observation) -> None:
        """Whoever is here unknown to us may have what is given out, until it is announced to be gone."""
        if message.msg_type == "registration_notification":
            self.book.strangers.add(uuid)
        elif message.msg_type == "unregistration_notification":
            self.book.strangers.discard(uuid)
            self.book.stranger_gone_at = seen.now

    def _check_revival(self, message: Message, uuid: object, seen: Observation) -> None:
        """Whoever has gone stays so, unless it registers again."""
        if message.msg_type == "registration_notification" and any(peer.uuid == uuid for peer in self.book.gone):
            found = f"{uuid}, which had gone, was announced again"
            slug = "heartbeat.no-revival-without-registration"
            self.book.accuse(slug, found, "it must register", evidence=(seen,))

    def _check_end(self, peer: Peer, seen: Observation) -> None:
        """Nobody who beats is given up."""
        if peer.state != "here" or not peer.beats or not self.is_steady(peer.since, self.timing.heart_failure[0]):
            return
        is_late = peer.engine.heart is not None and peer.engine.scripted_heart.delay > 0
        if is_late and not self.is_virtual:
            # Elsewhere the answer may be later than was meant.
            return
        slug = "heartbeat.late-echo-accepted" if is_late else "heartbeat.echo-keeps-alive"
        self.book.accuse(slug, f"{peer.engine.name} was given up, whose heart beats", "it stays", evidence=(seen,))

    def _gone(self, peer: Peer, seen: Observation) -> None:
        peer.state, peer.gone_at = "gone", seen.now
        for run in peer.open():
            run.is_lost = True
        for job in self.book.jobs:
            last = job.last
            if last is not None and last.peer is peer and last.is_lost:
                job.lost_at, job.is_fresh = seen.now, True
            elif job.peer is peer and not job.runs:
                job.is_muddled = True
        for cast in self.book.casts:
            if peer in cast.targets and peer.uuid not in cast.answers:
                cast.missing += 1

    def begin(self) -> None:
        """From now on what is announced counts."""
        check_files(self.book, self.controller)
        # Somebody hears the pings, whether there are engines or not.
        self.controller.heart(answer=no_answer)
        self._heard = len(self.controller.notifications.heard)


def play(player: Player, conversation: Conversation) -> None:
    """Play a whole conversation, with its end."""
    player.begin()
    for step in conversation:
        player.play(step)
    player.finish()


__all__ = ["Player", "play"]
