"""Engines come, work and go, and clients ask them for work: what each of these steps makes the parties do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from conformance.harness.actors import RESULT_BUFFERS, Client
from conformance.harness.hearts import Answer, Heart, no_answer
from conformance.model import steps as alphabet
from conformance.model.arrivals import EXECUTED, Arrivals
from conformance.model.ledger import Cast, Intent, Job, Peer, Run, metadata_of
from conformance.model.orders import ANYWHERE, ORDERS, SIMPLE, Plan
from conformance.model.questions import NOBODY, Question
from protocol.wire import Frame, Message
from protocol.world import Observation

FAILURE: Final = {"status": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": []}

REFUSAL: Final = {"status": "error", "ename": "UnmetDependency", "evalue": "", "traceback": []}

ABORTION: Final = {"status": "aborted"}

ENDS: Final[dict[str, Any]] = {"terse": "ok", "empty": "ok"}
#: What a heart does from now on that is no beat.
SILENCES: Final = ("stop", "only-old", "only-altered")
#: Orders that are left out if this is known: what becomes of the task would tell nothing else.
SPOILT: Final = {"after-null": "dependency.null-or-empty", "retry-there": "task.retry-where-it-failed"}
#: So far beyond all ids that were ever given or asked for that no other registration under way can take it.
FAR: Final = 200


def _answers(how: str, old: list[Frame]) -> Answer:
    """How a heart answers that is silent, or as good as that."""
    if how == "only-altered":
        return lambda frames: [b"0" + bytes(frames[-1])]
    return (lambda _: old) if how == "only-old" and old else no_answer


def _every_other() -> Answer:
    """Every second ping is answered: no two are missed in a row."""
    count = 0

    def answer(frames: Sequence[Frame]) -> Sequence[Frame] | None:
        nonlocal count
        count += 1
        return frames if count % 2 else None

    return answer


class Working(Arrivals):
    """See the module."""

    def do_begin(self, step: alphabet.Begin) -> None:
        """Nothing: who plays it has seen to that."""

    def do_register(self, step: alphabet.Register) -> None:
        """Register, again or anew."""
        peer = self.book.peer(step.engine)
        if peer is not None and peer.state in ("asked", "pending", "here", "leaving"):
            if peer.state != "pending" or peer.beats or not self._has_expired(peer):
                self._register_namesake(peer)
                return
            # Its heart was not heard in time: the name is free again.
            peer.state, peer.gone_at = "gone", self.world.now
            self._vanish(peer.engine)
            step = msgspec.structs.replace(step, returns=True)
        may_return = step.returns and "registration.can-return" not in self.avoid
        uuid = peer.uuid if peer is not None and may_return and peer.state == "gone" else None
        if peer is not None and uuid is not None and not self._is_free(peer):
            uuid = None
        engine = self._engine(uuid)
        # Where its one beat may come too late nobody waits for what comes of it.
        beats = step.heart == "beats" or (step.heart == "once" and self.is_virtual)
        peer = Peer(step.engine, engine, beats=beats, is_faint=step.heart == "once", since=self.world.now)
        self.book.peers.append(peer)
        engine.expect_met()
        wanted = self._number(step.number)
        if wanted is None:
            engine.send_registration()
        else:
            engine.send_registration(id=wanted)
            peer.wanted = (wanted, step.number == "free")

    def _is_free(self, peer: Peer) -> bool:
        """Whether no connection of an engine that has gone stands in the way of the next one of its name.

        A ROUTER is deaf to a connection whose identity another one has, and real ones are closed some time later.
        """
        if peer.engine.is_open or self.is_virtual:
            return not peer.engine.is_open
        while_closing = self.timing.margin + self.world.hindered(peer.closed_at)
        return self.world.now - peer.closed_at > while_closing

    def _has_expired(self, peer: Peer) -> bool:
        """Whether a registration has waited for its first beat for too long."""
        return self.world.now - peer.since > self.timing.registration_timeout + self.timing.margin

    def _number(self, which: str) -> int | None:
        if which in ("free", "next"):
            given = [peer.engine.id for peer in self.book.peers if peer.engine.id is not None]
            most = max([self.most, *given, *(wanted[0] for peer in self.book.peers if (wanted := peer.wanted))])
            return most + (FAR if which == "free" else 1)
        here = [peer.engine.id for peer in self.book.here]
        return here[0] if which == "taken" and here else None

    def _register_namesake(self, peer: Peer) -> None:
        engine = self.controller.engine(uuid=peer.uuid, is_namesake=not self._is_free(peer))
        self.world.listen(engine.query, lambda seen: self._replied(engine, seen))
        message = engine.send_registration()
        slug = "registration.duplicate-uuid-refused" if peer.state == "here" else "registration.pending-uuid-refused"
        # A registration that waits for its first beat ends by itself, and nobody says so.
        may_end = self.world.now - peer.since > self.timing.registration_timeout - self.timing.margin
        if peer.state in ("leaving", "asked") or peer.is_faint or (peer.state == "pending" and may_end):
            self.book.contested.add(peer.uuid)
        form: Any = "any" if peer.uuid in self.book.contested else "error"
        question = Question("registration_request", {"uuid": peer.uuid}, form, slug, whom=[peer])
        self._expect(engine, message, question)

    def do_nonsense(self, step: alphabet.Nonsense) -> None:
        """Ask for what cannot be granted."""
        uuid = f"{self.controller.token}-odd-{len(self.marks)}"
        content, slug = {
            "no-uuid": ({}, "registration.uuid-required"),
            "uuid-number": ({"uuid": 7}, "registration.uuid-wrong-type-refused"),
            "uuid-list": ({"uuid": [uuid]}, "registration.uuid-wrong-type-refused"),
            "id-text": ({"uuid": uuid, "id": "x"}, "registration.id-wrong-type-refused"),
            "id-list": ({"uuid": uuid, "id": [1]}, "registration.id-wrong-type-refused"),
        }[step.what]
        if slug in self.avoid:
            return
        engine = self.controller.engine(uuid=uuid)
        self.world.listen(engine.query, lambda seen: self._replied(engine, seen))
        why = f"a registration that cannot be granted: {step.what}"
        message = engine.send_unchecked(why, "registration_request", content)
        self._expect(engine, message, Question("registration_request", content, "error", slug, why))

    def do_leave(self, step: alphabet.Leave) -> None:
        """Go."""
        peer = self.book.peer(step.engine)
        if step.how in ("for-nobody", "names-nobody"):
            content = {"id": NOBODY} if step.how == "for-nobody" else {}
            self.client(0).send_unchecked("an unregistration of nobody", "unregistration_request", content)
            return
        if peer is None or peer.state not in ("here", "pending") or peer.engine.id is None:
            return
        was_here = peer.state == "here"
        asked = [question for _, question, _ in self.asked.values() if question.msg_type == "registration_request"]
        if any(peer in question.whom for question in asked):
            # Who asks for its name may be heard before it is free, or after that.
            self.book.contested.add(peer.uuid)
        if step.how == "shut-down" and was_here:
            self._shut_down(peer)
            return
        peer.state, peer.since = "leaving" if was_here else "gone", self.world.now
        if not was_here:
            # Its first beat may have been heard by now, and its leave not yet.
            peer.gone_at = self.world.now
            self.book.contested.add(peer.uuid)
        for job in self.book.jobs:
            if job.peer is peer and not job.runs:
                job.is_muddled = True
            elif job.peer is peer and job.is_fresh and not self.is_virtual:
                # The Hub may hear of it from the queue, and of the leave before that.
                job.is_blurred = True
        if step.how == "vanishes" and was_here:
            peer.beats = False
            self._vanish(peer.engine)
            for run in peer.open():
                run.is_lost = True
            return
        peer.engine.unregister()
        if step.how == "twice":
            peer.engine.unregister()

    def _shut_down(self, peer: Peer) -> None:
        """A client tells an engine to end, which says so to everybody."""
        client = self.client(0)
        message = client.make("shutdown_request", {}, identities=(peer.uuid.encode(),))
        job = Job(message, client, "control", at=self.world.now, peer=peer)
        self.book.add(job)
        self._send(client, "control", message)
        self.world.run_until(lambda: bool(job.runs), self.world.now + self.timing.reply_deadline)
        if not job.runs or job.runs[0].seen.message is None:
            return
        # What it has to say about this it says now, and it waits for somebody to hear it.
        job.runs[0].end, job.is_muddled = "ok", True
        job.runs[0].is_shelved = True
        heard = len(self.world.observations)
        peer.engine.shut_down(job.runs[0].seen)
        if peer.uuid in self.proved:
            said = [each for each in self.world.observations[heard:] if isinstance(each, Observation)]
            self.published.setdefault(peer.uuid, []).extend(
                each.message for each in said if each.message and each.channel == "iopub" and each.direction == "sent"
            )
        peer.state, peer.since = "leaving", self.world.now
        for each in self.book.jobs:
            if each.peer is peer and not each.runs:
                each.is_muddled = True

    def do_heart(self, step: alphabet.Heart) -> None:
        """Beat, or do not, or otherwise."""
        peer = self.book.peer(step.engine)
        if peer is None or not peer.engine.is_open or peer.engine.heart is None:
            return
        heart = peer.engine.scripted_heart
        if step.how in SILENCES:
            if peer.beats and peer.state in ("here", "pending"):
                heart.answer = _answers(step.how, list(heart.pings[0].frames) if heart.pings else [])
                heart.delay = 0
                peer.beats, peer.since = False, self.world.now
                peer.state = "leaving" if peer.state == "here" else "pending"
                for job in self.book.jobs:
                    if job.peer is peer and not job.runs:
                        job.is_muddled = True
        elif step.how == "beat":
            self._beat_again(peer, heart)
        elif step.how == "limp" and peer.beats and not peer.is_faint:
            heart.answer = _every_other()
        elif step.how == "lag" and peer.beats and not peer.is_faint:
            # A little later than the next ping, and still a beat.
            heart.delay = self.timing.heartbeat_period * 6 // 5
        elif len(heart.pings) > 2 and (peer.beats or step.how not in ("late", "stutter")):
            # What would be a beat after all is left to hearts that beat.
            ping = list(heart.pings[-1].frames)
            self._say_oddly(heart, step.how, ping, list(heart.pings[0].frames))

    def _beat_again(self, peer: Peer, heart: Heart) -> None:
        """One good beat is enough, if nobody can have given it up yet."""
        if peer.state == "gone":
            # It must register to be there again.
            heart.beat_again()
            return
        silence = self.world.now - peer.since
        longest = self.timing.heart_failure[0] if peer.state == "leaving" else self.timing.registration_timeout
        if not peer.beats and peer.state in ("leaving", "pending") and silence < longest // 2:
            heart.beat_again()
            if peer.state == "pending":
                heart.answer = lambda frames: frames if peer.engine.is_met else None
            peer.beats, peer.is_faint, peer.since = True, False, self.world.now
            peer.state = "here" if peer.state == "leaving" else "pending"

    def _say_oddly(self, heart: Any, how: str, ping: list[Frame], old: list[Frame]) -> None:
        said: dict[str, list[Frame]] = {
            "late": ping, "stutter": ping, "alter": [b"0" + bytes(ping[-1])], "repeat-old": old, "stranger": ping,
            "garbage": [b"", b"x", b"\xff" * 20], "other-name": [b"somebody else", *ping],
        }  # fmt: skip
        if how not in said:
            return
        for _ in range(40 if how == "stutter" else 1):
            if how == "stranger":
                self.controller.heart()
                return
            heart.send(said[how], f"no beat: {how}")

    def do_submit(self, step: alphabet.Submit) -> None:
        """Ask for work."""
        client, peer = self.client(step.client), self.book.peer(step.engine)
        known = {"mux": ANYWHERE, "control": SIMPLE, "task": ORDERS.keys() - {"to-nobody"}}[step.queue]
        order = step.order if step.order in known else "plain"
        plan = ORDERS[order](self.book, step.about, peer)
        if plan.intent.is_odd and "task.malformed-metadata-answered" in self.avoid:
            return
        if step.queue == "task" and SPOILT.get(order) in self.avoid:
            return
        if step.queue == "task":
            self._submit_task(client, plan)
        else:
            self.submit_to(client, step.queue, None if order == "to-nobody" else peer, plan)

    def submit_to(self, client: Client, channel: str, peer: Peer | None, plan: Plan) -> Job:
        """Ask one engine, or nobody."""
        to = b"nobody-has-this" if peer is None else peer.uuid.encode()
        buffers, msg_type, content = plan.buffers, plan.msg_type, plan.content
        if channel == "control" and plan.why is None and msg_type == "apply_request":
            msg_type, buffers, content = "clear_request", (), {}
        message = client.make(
            msg_type, content, metadata=plan.metadata, buffers=buffers, identities=(to,), **plan.header
        )  # fmt: skip
        is_certain = peer is not None and peer.state == "here"
        job = Job(message, client, channel, at=self.world.now, peer=peer if is_certain else None)
        job.is_muddled = not is_certain and peer is not None
        job.is_for_nobody = peer is None
        self.book.add(job)
        # The Hub must read what a relay need not.
        job.is_blurred = bool(plan.octets)
        self._send(client, channel, message, plan.why, plan.octets)
        return job

    def _submit_task(self, client: Client, plan: Plan) -> None:
        header = dict(plan.header)
        if plan.repeats is not None:
            self._repeat(client, plan)
            return
        message = client.make(
            plan.msg_type, plan.content, metadata=plan.metadata, buffers=plan.buffers, **header
        )  # fmt: skip
        if plan.on_itself:
            message = message.replace(metadata={plan.on_itself: [message.msg_id]})
        self.submit_task(client, message, plan.intent, plan.why)

    def submit_task(self, client: Client, message: Message, intent: Intent, why: str | None = None) -> Job:
        """Ask whichever engine the scheduler picks."""
        job = Job(message, client, "task", intent, at=self.world.now)
        self.book.add(job)
        self._send(client, "task", message, why)
        return job

    def has_arrived(self, job: Job) -> bool:
        """Whether what is sent on another socket certainly comes after this request."""
        return self.is_virtual or bool(job.runs or job.replies)

    def _repeat(self, client: Client, plan: Plan) -> None:
        """Submit under an id that was used before: of the same client nothing comes of it, of another one an error."""
        job = plan.repeats
        assert job is not None
        is_own = job.client is client
        if not is_own and not self.has_arrived(job):
            # Whoever comes first has the id.
            return
        if ("task.repeated-request-ignored" if is_own else "task.foreign-id-refused") in self.avoid:
            return
        message = client.make(plan.msg_type, plan.content, metadata=plan.metadata, buffers=plan.buffers,
                              msg_id=job.msg_id)  # fmt: skip
        job.is_blurred = True
        if not is_own:
            self.foreign.add((client.name, job.msg_id))
        self._send(client, "task", message, plan.why)

    def do_cast(self, step: alphabet.Cast) -> None:
        """Ask several."""
        client = self.client(step.client)
        here = [peer for peer in self.book.here if not peer.is_doubtful]
        chosen = {"one": here[:1], "two": here[:2], "none": []}.get(step.targets, here)
        pairs: list[Any] = [[peer.uuid, peer.engine.id] for peer in chosen]
        gone = self.book.gone
        if step.targets == "with-unknown":
            pairs.append(["nobody-has-this", NOBODY])
        elif step.targets == "with-dead" and gone:
            pairs.append([gone[-1].uuid, gone[-1].engine.id])
        metadata: dict[str, Any] = {"targets": pairs, "is_broadcast": True, "is_coalescing": step.coalesces}
        why = None
        if step.targets in ("missing", "unreadable"):
            why, chosen = "targets that cannot be read", []
            metadata = metadata | {"targets": 7} if step.targets == "unreadable" else {"is_broadcast": True}
        message = client.make("apply_request", None, metadata=metadata, buffers=(b"f", b"", b"%d" % len(pairs)))
        cast = Cast(message, client, tuple(chosen), step.coalesces, named=frozenset(pair[0] for pair in pairs))
        cast.missing = len(pairs) - len(chosen)
        cast.is_muddled = why is not None
        self.book.casts.append(cast)
        self._send(client, "broadcast", message, why)

    def do_answer(self, step: alphabet.Answer) -> None:
        """Answer what was asked."""
        peer = self.book.peer(step.engine)
        if peer is None or not peer.engine.is_open:
            return
        if peer.broadcasts and step.about % 2:
            self._answer_cast(peer, peer.broadcasts.pop(0), step.how)
            return
        runs = peer.open()
        if runs:
            self.answer(runs[step.about % len(runs)], step.how)

    def answer(self, run: Run, how: str = "ok") -> None:
        """Let an engine answer a request that it has."""
        request = run.seen.message
        assert request is not None
        if run.is_lost and run.seen.channel == "task" and "task.stranger-reply-dropped" in self.avoid:
            # It was given up with the task, and what an answer would do to whoever has that now is known.
            run.is_shelved = True
            return
        self._answered += 1
        if how == "aborted" and run.seen.channel == "control":
            # Clearing succeeds or fails.
            how = "failed"
        if request.msg_type == "strange_request":
            # Of an answer of no known type nothing is certain but that it is one.
            how = "ok"
        buffers: tuple[bytes, ...] = (RESULT_BUFFERS[0], b"%d" % self._answered)
        content: Any = {"failed": FAILURE, "aborted": ABORTION, "refused": REFUSAL}.get(how)
        metadata: dict[str, Any] = {}
        if how == "terse":
            metadata["dependencies_met"] = ...
        if how == "refused":
            metadata["dependencies_met"] = False
        if how == "empty":
            buffers = ()
        if request.msg_type == "execute_request":
            buffers = ()
            content = EXECUTED if content is None else content
        elif run.seen.channel == "control":
            buffers = ()
        elif content is None:
            content = {"status": "ok", "of the model": {"depth": [1, None, "ü"], "number": self._answered}}
        channel = run.seen.channel
        queue = run.peer.engine.queue(channel)
        if request.msg_type == "strange_request":
            # No type of ours has such a reply.
            reply = run.peer.engine.make("strange_reply", {"status": "ok"}, parent=request.header,
                                         identities=request.identities, buffers=buffers)  # fmt: skip
            queue.send_raw(self.controller.codec.encode(reply), "a type that nobody knows")
        else:
            reply = run.peer.engine.answer(run.seen, channel=channel, content=content, metadata=metadata,
                                           buffers=buffers)  # fmt: skip
        end: Any = ENDS.get(how, how)
        job = self.book.by_id.get(request.msg_id)
        if run.is_lost and job is not None:
            job.is_muddled = True
        if run.peer.state == "leaving" and channel == "mux" and job is not None and not self.is_virtual:
            # The Hub may have counted it among the dead by then, with what it had: that is recorded, or this.
            job.is_blurred = True
        run.reply, run.end = reply, end if channel == "task" or end != "refused" else "failed"
        if job is not None:
            job.is_fresh = True

    def answer_all(self) -> None:
        """Let all engines answer all that they have."""
        for peer in self.book.peers:
            if peer.engine.is_open:
                for run in peer.open():
                    self.answer(run)
                while peer.broadcasts:
                    self._answer_cast(peer, peer.broadcasts.pop(0))
            elif peer.state == "gone":
                peer.broadcasts.clear()

    def do_work(self, step: alphabet.Work) -> None:
        """Answer everything, several times."""
        for _ in range(step.rounds + 1):
            self.answer_all()
            self.world.run_until(lambda: False, self.world.now + (1_000_000 if self.is_virtual else 0))

    def _answer_cast(self, peer: Peer, seen: Observation, how: str = "ok") -> None:
        request = seen.message
        assert request is not None
        self._answered += 1
        content = FAILURE if how == "failed" else None
        reply = peer.engine.answer(seen, channel="broadcast", content=content, buffers=(b"%d" % self._answered,))
        cast = self._cast_of(metadata_of(request).get("original_msg_id"))
        if cast is not None:
            cast.answers[peer.uuid] = reply

    def do_wait(self, step: alphabet.Wait) -> None:
        """Let time pass."""
        if not self.is_virtual:
            # A first beat is heard in this time; whatever takes longer is waited for where all is to be quiet.
            self.controller.let_pass((min(step.periods, 2) + 1) * self.timing.heartbeat_period)
            return
        # Long enough for a registration to expire, where that costs nothing.
        unit = self.timing.registration_timeout // 4 if step.is_long else self.timing.heartbeat_period
        self.controller.let_pass((step.periods + 1) * unit)

    def probe(self) -> None:
        """One task and one request for each engine, and a broadcast for all of them."""
        for peer in self.book.here:
            if peer.is_doubtful:
                continue
            intent = Intent(targets=(peer.uuid,))
            message = self.auditor.make("apply_request", None, metadata={"targets": [peer.uuid]}, buffers=(b"f", b""))
            self.submit_task(self.auditor, message, intent)
            self.submit_to(self.auditor, "mux", peer, Plan())
            self.submit_to(self.auditor, "control", peer, Plan())
        if self.book.here:
            self.do_cast(alphabet.Cast())
