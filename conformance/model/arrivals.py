"""What is noted, and held against the ledger, when something reaches one of the parties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from conformance.harness.actors import RESULT_BUFFERS, Client, Engine
from conformance.harness.hearts import Answer, echo, no_answer
from conformance.model.answers import in_words
from conformance.model.ledger import Cast, Job, Peer, Run, metadata_of, parent_id
from conformance.model.orders import NEVER
from conformance.model.parties import Parties
from conformance.model.questions import Question
from protocol.errors import ProtocolError
from protocol.rules.parts import content_of
from protocol.wire import Frame, Message
from protocol.world import Observation

EXECUTED: Final = {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
OWN_ERRORS: Final = frozenset({"ImpossibleDependency", "InvalidDependency", "TaskTimeout", "EngineError"})


#: What the Hub may submit again.
AGAIN: Final = ("apply_request", "execute_request")
#: Where an engine connects to, by keys of its file.
PORTS: Final = ("hb_ping", "hb_pong", "mux", "task", "control", "iopub")


class Arrivals(Parties):
    """See the module."""

    def _told(self, engine: Engine, seen: Observation) -> None:
        """The Hub says something to an engine on its own socket."""
        peer, message = self._peer_of(engine), seen.message
        if peer is None or message is None or peer.state != "asked" or parent_id(seen) in self.asked:
            self._replied(engine, seen)
            return
        content = content_of(message)
        number = content.get("id") if content.get("status") == "ok" else None
        if isinstance(number, int):
            engine.id, peer.state = number, "pending"
            self._check_number(peer, number, seen)
            self._check_info(message, seen)
            engine.connect_leaf()
            self.world.listen(engine.queue("broadcast"), lambda each: self._given(engine, each))
            engine.start_heart()
            peer.since = self.world.now
            answer = _once() if peer.is_faint else echo if peer.beats else no_answer
            # Whoever is announced can be reached: before all queues know it, it does not beat.
            engine.scripted_heart.answer = lambda frames: answer(frames) if engine.is_met else None
        else:
            peer.state = "refused"
            if peer.wanted is None and peer.uuid not in self.book.contested:
                self.book.accuse("registration.request-answered", f"{message.msg_type} {content!r:.200}",
                                 "an engine with a new name is accepted", evidence=(seen,))  # fmt: skip

    def _check_number(self, peer: Peer, number: int, seen: Observation) -> None:
        if peer.wanted is not None and peer.wanted[1] and number != peer.wanted[0]:
            wanted = f"{peer.wanted[0]}, which is free"
            self.book.accuse("registration.requested-id-honoured", f"the id {number}", wanted, evidence=(seen,))

    def _check_info(self, message: Message, seen: Observation) -> None:
        info, file = content_of(message).get("connection_info"), self.controller.engine_file
        told = [key for key in PORTS if isinstance(info, dict) and info.get(key) == getattr(file, key)]
        if len(told) < len(PORTS):
            self.book.accuse("registration.reply-connection-info", f"connection_info {info!r:.150}",
                             "the ports of the engine file", evidence=(seen,))  # fmt: skip

    def _replied(self, client: Client, seen: Observation) -> None:
        """The Hub answers."""
        msg_id = parent_id(seen)
        if msg_id is None or msg_id not in self.asked:
            if seen.message is not None and seen.message.msg_type == "registration_reply" and msg_id is None:
                msg_id = next((key for key, each in self.asked.items() if each[2] is client), None)
            if msg_id is None or msg_id not in self.asked:
                return
        message, question, party = self.asked[msg_id]
        if party is not client or seen.message is None:
            return
        del self.asked[msg_id]
        self.answers[msg_id] = seen
        self._judge(message, question, seen)

    def _judge(self, request: Message, question: Question, seen: Observation) -> None:
        reply = seen.message
        assert reply is not None
        content = content_of(reply)
        is_error = content.get("status") == "error"
        found = f"{reply.msg_type} {in_words(content)} for {request.msg_type} {question.content!r:.150}"
        if any(peer.state not in ("pending", "here") for peer in question.whom):
            return
        if question.form == "ok" and is_error:
            self.book.accuse(question.slug, found, "it is granted", evidence=(seen,))
        elif question.form == "error" and (not is_error or (question.is_hub_error and reply.msg_type != "hub_error")):
            allowed = "a hub_error" if question.is_hub_error else "it is refused"
            self.book.accuse(question.slug, found, allowed, evidence=(seen,))
        elif not is_error:
            for slug, what, allowed in question.check(reply):
                self.book.accuse(slug, f"{what} in {reply.msg_type}", allowed, evidence=(seen,))

    def _given(self, engine: Engine, seen: Observation) -> None:
        """A queue gives something to an engine."""
        self._listen()
        peer, message = self._peer_of(engine), seen.message
        if peer is None or message is None:
            return
        if self.controller.is_of_earlier_case(str(message.header.get("session"))):
            if seen.channel != "broadcast" and message.msg_type.endswith("_request"):
                self._answer_anyhow(peer, seen)
            return
        origin = metadata_of(message).get("original_msg_id")
        if seen.channel == "broadcast" or (isinstance(origin, str) and self._cast_of(origin) is not None):
            self._given_cast(peer, seen, origin)
            return
        job = self.book.by_id.get(message.msg_id)
        if message.msg_id in self.book.wild or (job is None and message.msg_type not in AGAIN):
            if seen.channel == "task":
                self._answer_anyhow(peer, seen)
            return
        if job is None:
            # It may be what was submitted again, of which the Hub has not told us yet.
            self.unclaimed.append((peer, seen))
            return
        run = Run(peer, seen, self.world.now)
        if job.client is not None and not job.is_muddled:
            # One client has one name at one queue, whatever it asks.
            name = self.names.setdefault((job.client.name, job.channel), message.identities)
            if job.channel != "task" and name != message.identities:
                found = f"{job.client.name} is called {message.identities!r:.100}"
                slug = "mux.identity-swap" if job.channel == "mux" else "control.reply-to-requester"
                self.book.accuse(slug, found, f"{name!r:.100}, as before", evidence=(seen,))
        self._check_delivery(job, run)
        peer.runs.append(run)
        job.runs.append(run)
        job.is_fresh = True

    def _answer_anyhow(self, peer: Peer, seen: Observation) -> None:
        """Let an engine be rid of what nobody in this conversation waits for."""
        assert seen.message is not None
        is_code = seen.message.msg_type == "execute_request"
        buffers = () if is_code or seen.channel == "control" else RESULT_BUFFERS
        try:
            peer.engine.answer(seen, channel=seen.channel, content=EXECUTED if is_code else None, buffers=buffers)
        except ProtocolError:  # it cannot be answered as what it is
            peer.is_doubtful = True

    def _check_delivery(self, job: Job, run: Run) -> None:
        last, peer, found = job.last, run.peer, f"{job.message.msg_type} {job.msg_id}"
        if job.is_muddled:
            return
        if job.channel != "task":
            if job.peer is not None and peer is not job.peer:
                self.book.accuse(f"{job.channel}.routes-by-identity", f"{found} came to {peer.engine.name}",
                                 job.peer.engine.name, evidence=(run.seen,))  # fmt: skip
            elif last is not None:
                self.book.accuse("wire.nothing-invented", f"{found} came for the second time", "once",
                                 evidence=(last.seen, run.seen))  # fmt: skip
            elif job.is_for_nobody:
                slug = f"{job.channel}.unknown-engine-harmless"
                self.book.accuse(slug, f"{found} came to {peer.engine.name}", "nobody", evidence=(run.seen,))
            return
        # The scheduler may hear of it later than we do.
        is_sure = self.is_virtual or peer.uuid not in self.book.contested
        if peer.state == "gone" and is_sure and (self.is_virtual or self.world.now - peer.gone_at > self.timing.margin):
            self.book.accuse("task.dead-engine-avoided", f"{found} came to {peer.engine.name}, which has gone",
                             "an engine that is there", evidence=(run.seen,))  # fmt: skip
        if last is not None and last.end is None and not last.is_lost and last.peer.state == "here":
            what = f"{found} came to {peer.engine.name}, too"
            self.book.accuse("task.one-live-assignment", what, "one at a time", evidence=(last.seen, run.seen))
        if peer in [each.peer for each in job.refusals]:
            what = f"{found} came again to {peer.engine.name}"
            self.book.accuse("task.refusing-engine-avoided", what, "another engine", evidence=(run.seen,))
        if job.tries > job.intent.retries:
            most = f"{job.intent.retries + 1} at most"
            self.book.accuse("task.retries-bounded", f"run {job.tries + 1} of {found}", most, evidence=(run.seen,))
        if job.intent.must_fail and not job.intent.is_odd:
            self.book.accuse(job.intent.must_fail, f"{found} came to {peer.engine.name}", "an error reply",
                             evidence=(run.seen,))  # fmt: skip
        late = job.intent.timeout and last is None and self.world.now - job.at
        if late and late > job.intent.timeout * 1e9 + self.timing.margin + self.world.hindered(job.at):
            self.book.accuse("task.timeout-while-queued", f"{found} came after {late / 1e9:.1f} s", "an error reply",
                             evidence=(run.seen,))  # fmt: skip
        if self.book.hwm and peer.state == "here" and not peer.is_doubtful and self.book.load(peer) >= self.book.hwm:
            self.book.accuse("task.hwm-respected", f"{found} came to {peer.engine.name}, which is busy",
                             f"{self.book.hwm} at once", evidence=(run.seen,))  # fmt: skip
        if job.original is not None and last is None:
            # What is run once more has the retries that are left.
            self._check_again(job, run)

    def _check_again(self, job: Job, run: Run) -> None:
        again, original = run.seen.message, job.original
        assert again is not None
        assert original is not None
        first = original.message
        if again.content != (first.content or {}) or list(map(bytes, again.buffers)) != list(map(bytes, first.buffers)):
            self.book.accuse("query.resubmit-same-request", f"{job.msg_id} has other content or buffers",
                             f"those of {original.msg_id}", evidence=(run.seen,))  # fmt: skip
        lost = [key for key, value in metadata_of(first).items() if metadata_of(again).get(key) != value]
        if lost:
            self.book.accuse("query.resubmit-keeps-metadata", f"{job.msg_id} lost {lost}", "metadata as submitted",
                             evidence=(run.seen,))  # fmt: skip

    def _given_cast(self, peer: Peer, seen: Observation, origin: object) -> None:
        cast = self._cast_of(origin)
        if not isinstance(origin, str):
            # No engine of ours could answer that; the rules accuse who wrote it.
            for each in self.book.casts:
                each.is_muddled = each.is_muddled or peer in each.targets
            return
        peer.broadcasts.append(seen)
        if cast is None or cast.is_muddled:
            return
        assert seen.message is not None
        if peer.uuid in cast.given or peer.uuid not in cast.named:
            self.book.accuse("broadcast.reaches-each-target", f"a copy of {origin} for {peer.engine.name}",
                             "one for each target, and none for others", evidence=(seen,))  # fmt: skip
        if list(map(bytes, seen.message.buffers)) != list(map(bytes, cast.message.buffers)):
            what = f"{len(seen.message.buffers)} buffers"
            self.book.accuse("broadcast.buffers-unchanged", what, "those that were sent", evidence=(seen,))
        cast.given[peer.uuid] = seen

    def _returned(self, client: Client, seen: Observation) -> None:
        """A queue gives something to a client."""
        self._listen()
        message, msg_id = seen.message, parent_id(seen)
        if message is None or self.book.is_ended:
            return
        cast = self._cast_of(metadata_of(message).get("original_msg_id") or msg_id)
        if cast is not None:
            self._returned_cast(client, cast, seen)
            return
        if msg_id is None or msg_id in self.book.wild:
            return
        if (client.name, msg_id) in self.foreign:
            if content_of(message).get("status") != "error":
                self.book.accuse("task.foreign-id-refused", f"{message.msg_type} for another client's id", "an error",
                                 evidence=(seen,))  # fmt: skip
            return
        job = self.book.by_id.get(msg_id)
        if job is None:
            if msg_id == NEVER:
                self.book.accuse("task.stranger-reply-dropped", "a reply to what nobody submitted", "nothing",
                                 evidence=(seen,))  # fmt: skip
            return
        if job.is_muddled:
            job.replies.append(seen)
            return
        found = f"{message.msg_type} to {job.message.msg_type} {job.msg_id}"
        if job.client is not client:
            self.book.accuse(f"{job.channel}.reply-to-requester", f"{found} came to {client.name}",
                             job.client.name if job.client else "the Hub", evidence=(seen,))  # fmt: skip
            return
        if len(job.replies) > job.extra:
            self.book.accuse("wire.at-most-one-reply", f"one more {found}", "one", evidence=(*job.replies, seen))
        job.replies.append(seen)
        job.is_fresh = True
        if len(job.replies) == 1:
            self._check_reply(job, seen)

    def _check_envelope(self, job: Job, seen: Observation) -> None:
        """A reply comes behind the name of its engine; what the scheduler says of itself, behind nobody's."""
        message, last = seen.message, job.last
        assert message is not None
        said = last.reply if last is not None else None
        if said is not None and last is not None and message.msg_id == said.msg_id:
            slug = f"{job.channel}.reply-names-engine" if job.channel != "control" else "control.reply-to-requester"
            wanted: tuple[bytes, ...] = (last.peer.uuid.encode(),)
        elif job.channel == "task" and last is None and content_of(message).get("ename") != "EngineError":
            # What is said of an engine that was given it and vanished comes behind the name of that engine.
            slug, wanted = "task.own-replies-unprefixed", ()
        else:
            return
        if message.identities != wanted:
            self.book.accuse(slug, f"the identities {message.identities!r:.100}", f"{wanted!r:.100}", evidence=(seen,))

    def _check_reply(self, job: Job, seen: Observation) -> None:
        message, last = seen.message, job.last
        assert message is not None
        self._check_envelope(job, seen)
        said = last.reply if last is not None else None
        if said is not None and last is not None and last.end != "refused":
            if job.channel == "task" and job.tries <= job.intent.retries and last.end != "ok" and not last.is_lost:
                self.book.accuse("task.retry-on-failure", f"a reply after run {job.tries}", "it is run again",
                                 evidence=(last.seen, seen))  # fmt: skip
            if message.msg_id != said.msg_id and not last.is_lost:
                self.book.accuse("wire.reply-true", f"{message.msg_type} {content_of(message)!r:.150} for {job.msg_id}",
                                 "what its engine said", evidence=(last.seen, seen))  # fmt: skip
            return
        if job.channel != "task" or content_of(message).get("status") != "error":
            if not (last is not None and last.is_lost):
                what = f"{message.msg_type} {content_of(message)!r:.150} for {job.msg_id}, which no engine has answered"
                self.book.accuse("wire.reply-true", what, "no reply yet", evidence=(seen,))
            return
        # The scheduler's own word: an error, whose cause must hold.
        if message.msg_type != "apply_reply":
            self.book.accuse("task.own-replies-are-apply-replies", message.msg_type, "apply_reply", evidence=(seen,))
        name = content_of(message).get("ename")
        if name not in OWN_ERRORS and not job.intent.is_odd:
            self.book.accuse("task.own-error-names", f"the error {name!r}", *sorted(OWN_ERRORS), evidence=(seen,))
        # An engine that vanished may have been given it, of this conversation or of an earlier one.
        has_left = any(peer.state in ("leaving", "gone") for peer in self.book.peers)
        is_lost = name == "EngineError" and (has_left or not self.book.is_alone)
        if not job.intent.can_fail and job.original is None and last is None and not is_lost:
            self.book.accuse("wire.reply-true", f"{name} for {job.msg_id}, which asked for nothing special", "it runs",
                             evidence=(seen,))  # fmt: skip
        if last is not None and last.end is None and not last.is_lost and last.peer.state == "here":
            self.book.accuse("task.running-never-times-out", f"{name} for {job.msg_id}, which an engine has",
                             "what the engine says", evidence=(last.seen, seen))  # fmt: skip

    def _returned_cast(self, client: Client, cast: Cast, seen: Observation) -> None:
        message = seen.message
        assert message is not None
        if client is not cast.client:
            self.book.accuse("broadcast.original-id", f"a reply to {cast.message.msg_id} came to {client.name}",
                             cast.client.name, evidence=(seen,))  # fmt: skip
            return
        cast.replies.append(seen)
        if cast.is_muddled:
            return
        allowed = 1 if cast.coalesces else max(1, len(cast.targets) + cast.missing)
        if len(cast.replies) > allowed:
            self.book.accuse("broadcast.reply-per-target", f"reply {len(cast.replies)} to {cast.message.msg_id}",
                             f"{allowed} at most", evidence=(seen,))  # fmt: skip
        if cast.coalesces and not cast.missing and len(cast.answers) == len(cast.targets):
            order = metadata_of(message).get("broadcast_targets")
            by_uuid = {uuid: [bytes(each) for each in reply.buffers] for uuid, reply in cast.answers.items()}
            names = [each[0] if isinstance(each, list) else each for each in order] if isinstance(order, list) else []
            if names and all(uuid in by_uuid for uuid in names):
                wanted = [each for uuid in names for each in by_uuid[uuid]]
                if [bytes(each) for each in message.buffers] != wanted:
                    self.book.accuse("broadcast.coalesced-buffers", f"{message.buffers!r:.100}", f"{wanted!r:.100}",
                                     evidence=(seen,))  # fmt: skip


def _once() -> Answer:
    """The first ping is answered, and no other."""
    left = 1

    def answer(frames: Sequence[Frame]) -> Sequence[Frame] | None:
        nonlocal left
        left -= 1
        return frames if left == 0 else None

    return answer
