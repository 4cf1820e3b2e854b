"""What is asked of the Hub: questions, and what changes its records."""

from __future__ import annotations

from typing import Any

from conformance.harness.actors import Client
from conformance.model import steps as alphabet
from conformance.model.answers import statuses
from conformance.model.ledger import Intent, Job, Ledger
from conformance.model.parties import replace_header
from conformance.model.questions import NEVER as NEVER_SENT
from conformance.model.questions import NOBODY, QUESTIONS, Question
from conformance.model.working import Working
from protocol.rules.parts import content_of
from protocol.wire import Message


class Asking(Working):
    """See the module."""

    def do_ask(self, step: alphabet.Ask) -> None:
        """Ask the Hub."""
        peer = self.book.peer(step.about)
        party = self._party(step.by, step.client) or self.client(step.client)
        question = QUESTIONS[step.question](self.book, step.about, peer)
        if question.slug in self.avoid:
            return
        self.ask(party, question)

    def ask(self, party: Client, question: Question) -> Message:
        """Send a question; its answer is judged when it comes."""
        content = question.content if isinstance(question.content, dict) else {}
        message = party.make(
            question.msg_type, content, buffers=question.buffers, identities=question.identities, **question.header
        )
        if question.without:
            header = {key: value for key, value in message.header.items() if key not in question.without}
            message = replace_header(message, header)
        if isinstance(question.content, dict):
            self._send(party, "query", message, question.why)
        else:
            encode = self.controller.codec.packer.encode
            party.send_signed(str(question.why), head=bytes(encode(message.header)),
                              content=bytes(encode(question.content)))  # fmt: skip
        self._expect(party, message, question)
        return message

    def ask_now(self, question: Question, party: Client | None = None) -> Message | None:
        """Ask, and wait for the answer; None if there was none, which is noted."""
        self.flush()
        message = self.ask(party or self.auditor, question)
        self.flush()
        seen = self.answers.get(message.msg_id)
        return seen.message if seen is not None else None

    def do_purge(self, step: alphabet.Purge) -> None:
        """Have results forgotten."""
        self.settle()
        done = self.book.settled("completed")
        open_ones = self.book.settled("pending")
        job = self.book.about(step.about, done)
        plan = _purge(self.book, step.what, job, done, open_ones)
        if plan is None:
            return
        question, gone = plan
        if question.slug in self.avoid:
            return
        unsure = [each for each in self.book.jobs if self.book.place(each) is None]
        reply = self.ask_now(question, self.client(step.client))
        if reply is not None and content_of(reply).get("status") == "ok":
            for each in gone:
                each.is_purged = True
            if step.what in ("all", "engine"):
                # What was completed at that moment may be gone, too.
                for each in self.book.jobs:
                    each.is_blurred = each.is_blurred or each in unsure or each.is_fresh
        if reply is not None:
            # What was refused has changed nothing, and what was granted nothing else.
            certain = [each for each in (done[-3:] + open_ones[-3:]) if not each.is_purged]
            slug = "query.purge-keeps-others" if question.form == "ok" else "query.error-changes-nothing"
            self._expect_unchanged(certain, slug)

    def _expect_unchanged(self, jobs: list[Job], slug: str) -> None:
        def check(reply: Message) -> Any:
            return [each._replace(slug=slug) for each in statuses(self.book, jobs)(reply)]

        asked = {"msg_ids": [job.msg_id for job in jobs], "status_only": True}
        if jobs:
            self.ask_now(Question("result_request", asked, "ok", slug, check=check))

    def do_resubmit(self, step: alphabet.Resubmit) -> None:
        """Have the Hub submit again."""
        self.settle()
        done = [
            job for job in self.book.settled("completed")
            if job.channel in ("mux", "task") and job.client is not None and not job.intent.is_odd
            and not job.intent.must_fail and job.last is not None and job.last.end is not None
            and job.message.msg_type != "strange_request" and not job.extra
        ]  # fmt: skip
        job = self.book.about(step.about, done)
        ids = [job.msg_id] if job is not None else []
        if step.what == "two" and len(done) > 1:
            ids = [each.msg_id for each in done[-2:]]
        content: Any = {"msg_ids": ids}
        form: Any = "ok"
        slug, why = "query.resubmit-answered", None
        if step.what in ("unknown", "one-and-unknown"):
            content = {"msg_ids": [*(ids if step.what != "unknown" else ()), NEVER_SENT]}
            form = "error"
            slug = "query.resubmit-unknown-refused" if step.what == "unknown" else "query.resubmit-all-or-nothing"
        elif step.what == "nothing":
            content, slug = {"msg_ids": []}, "query.resubmit-empty"
        elif step.what == "missing":
            content, form, slug, why = {}, "error", "query.resubmit-msg-ids-missing", "no msg_ids"
        elif not ids:
            return
        reply = self.ask_now(Question("resubmit_request", content, form, slug, why), self.client(step.client))
        new = content_of(reply).get("resubmitted") if reply is not None else None
        if form == "ok" and isinstance(new, dict):
            self._resubmitted(content["msg_ids"], new)

    def _resubmitted(self, ids: list[str], new: dict[str, str]) -> None:
        if sorted(new) != sorted(ids):
            self.book.accuse("query.resubmit-answered", f"resubmitted {new!r:.200}", f"a new id for each of {ids}")
            return
        for old, fresh in new.items():
            original = self.book.by_id[old]
            if fresh in self.book.by_id:
                self.book.accuse("query.resubmit-fresh-id", f"the id {fresh}", "one that was never used")
                continue
            message = replace_header(original.message, {**original.message.header, "msg_id": fresh})
            job = Job(message, None, "task", original.intent if original.channel == "task" else Intent(),
                      at=self.world.now, original=original)  # fmt: skip
            original.again.append(fresh)
            self.book.add(job)
            waiting, self.unclaimed = self.unclaimed, []
            for peer, seen in waiting:
                self._given(peer.engine, seen)


def _purge(
    book: Ledger, what: str, job: Job | None, done: list[Job], open_ones: list[Job]
) -> tuple[Question, list[Job]] | None:
    """A request to forget, and what has to be forgotten then."""

    def asked(
        content: Any, form: Any, slug: str, gone: list[Job], why: str | None = None
    ) -> tuple[Question, list[Job]]:
        return Question("purge_request", content, form, slug, why), gone

    if what == "unknown":
        return asked({"msg_ids": [NEVER_SENT]}, "error", "query.purge-nonexistent-refused", [])
    if what == "unknown-engine":
        return asked({"engine_ids": [NOBODY]}, "error", "query.purge-unknown-engine", [])
    if what == "nothing":
        return asked({}, "ok", "query.purge-nothing", [])
    if what == "null":
        return asked({"msg_ids": None}, "any", "query.purge-null-answered", [], "null for msg_ids")
    if what == "pending" and open_ones:
        return asked({"msg_ids": [open_ones[-1].msg_id]}, "error", "query.purge-pending-refused", [])
    if what == "pending-alone" and open_ones:
        return asked({"msg_ids": open_ones[-1].msg_id}, "any", "query.purge-keeps-pending", [], "an id for a list")
    if job is None:
        return None
    if what == "two" and len(done) > 1:
        return asked({"msg_ids": [each.msg_id for each in done[-2:]]}, "ok", "query.purge-by-id", done[-2:])
    if what == "mixed" and open_ones:
        ids = [job.msg_id, open_ones[-1].msg_id]
        return asked({"msg_ids": ids}, "error", "query.purge-pending-refused", [])
    if what == "one-and-nobody":
        return asked({"msg_ids": [job.msg_id], "engine_ids": [NOBODY]}, "error", "query.error-changes-nothing", [])
    if what == "engine" and job.last is not None and job.last.peer.state == "here":
        peer = job.last.peer
        if any(each.is_muddled and peer in [run.peer for run in each.runs] for each in book.jobs):
            return None
        gone = [each for each in done if each.last is not None and each.last.peer is peer]
        return asked({"engine_ids": [peer.engine.id]}, "ok", "query.purge-by-engine", gone)
    if what == "all":
        return asked({"msg_ids": "all"}, "ok", "query.purge-all", done)
    return asked({"msg_ids": [job.msg_id]}, "ok", "query.purge-by-id", [job])
