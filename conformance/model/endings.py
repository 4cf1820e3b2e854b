"""How a conversation may end: the controller is told to, or it is killed and comes again from its disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from conformance.harness.controller import ControllerProcess
from conformance.model import steps as alphabet
from conformance.model.asking import Asking
from conformance.model.questions import Question
from protocol.rules.parts import content_of

if TYPE_CHECKING:
    from conformance.model.ledger import Job
    from protocol.wire import Message

#: How many results are asked for before and after a restart.
ASKED: Final = 8


class Endings(Asking):
    """See the module."""

    def do_shutdown(self, step: alphabet.Shutdown) -> None:
        """Tell the Hub to end."""
        self.settle()
        question = Question("shutdown_request", {}, "ok", "query.shutdown-answered")
        self.book.is_ended = True
        self.ask_now(question, self.client(step.client))
        limit = self.timing.reply_deadline + self.timing.stop_grace
        if not self.world.run_until(lambda: not self.controller.is_running, self.world.now + limit):
            self.book.accuse("query.shutdown-ends", "it still runs after a shutdown_request", "it ends")
        if self.controller.instance.on_disk():
            self.book.accuse("connection.file-removed-at-exit", "its files are still there", "they are removed")
        if not self.controller.notifications.of("shutdown_notification"):
            self.book.accuse("notification.shutdown-published", "no shutdown_notification", "one")

    def do_restart(self, step: alphabet.Restart) -> None:
        """Let the controller be killed and come again, where its records and its engines are on a disk."""
        if not (self.is_lasting and isinstance(self.controller.instance, ControllerProcess)):
            return
        self.settle()
        client = self.client(step.client)
        done = self.book.settled("completed")[-ASKED:]
        here, gone = list(self.book.here), [peer for peer in self.book.gone if peer.uuid not in self.book.contested]
        question = Question("result_request", {"msg_ids": [job.msg_id for job in done]}, "ok", "query.result-by-msg-id")
        # An empty list would tell nothing of what is kept.
        before = self.ask_now(question, client) if done else None
        is_shown = before is not None and content_of(before).get("status") == "ok"
        # What has been shown, and some time ago, may be relied on.
        self.controller.let_pass(self.timing.durable)
        if (done and not is_shown) or any(peer.state != "here" for peer in here):
            return
        self.book.is_ended = True
        self.controller.restart()
        since = self.world.now
        if before is not None:
            question.slug = "storage.persistent-survives"
            after = self.ask_now(question, client)
            if after is not None and content_of(after).get("status") == "ok":
                self._compare_results(done, before, after)
        reply = self.ask_now(Question("connection_request", {}, "ok", "connection.request-answered"), client)
        listed = content_of(reply).get("engines") if reply is not None else None
        if not isinstance(listed, dict) or not self.is_steady(since, self.timing.heart_failure[0]):
            # Hearts that we could not let beat since then may have been missed.
            return
        slug = "registration.state-survives-restore"
        for peer in here:
            if listed.get(str(peer.engine.id)) != peer.uuid:
                self.book.accuse(slug, f"{peer.engine.name} is not listed after a restart", "it is there")
        for peer in gone:
            if listed.get(str(peer.engine.id)) == peer.uuid:
                self.book.accuse(slug, f"{peer.engine.name} is listed after a restart", "it had gone before")

    def _compare_results(self, done: list[Job], before: Message, after: Message) -> None:
        lost = [job for job in done if content_of(after).get(job.msg_id) != content_of(before).get(job.msg_id)]
        if lost or list(map(bytes, after.buffers)) != list(map(bytes, before.buffers)):
            found = f"{len(lost)} of {len(done)} results are lost or changed after a restart"
            self.book.accuse("storage.persistent-survives", found, "all of them, as they were shown")


__all__ = ["Endings"]
