"""When all is quiet, everybody sees the same: the Hub in all its answers, the queues, and the ledger.

The Hub hears of what passes the queues with a delay, so it is asked again until it agrees or its time is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from conformance.model.answers import Check, Complaint, contents, entries, history, queue_of, records, statuses
from conformance.model.ledger import Job, Peer
from conformance.model.questions import Question
from protocol.rules.parts import content_of
from protocol.world import MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.model.player import Player
    from protocol.wire import Message

#: The pause between two questions whether the Hub knows by now: at first this, then a part of the time that it took.
PAUSE: Final = 2 * MILLISECOND
#: How often is looked before what is known to be wrong is taken for that.
KNOWN: Final = 5
#: How many results are looked at with their contents.
LOOKED_AT: Final = 6


def await_places(player: Player, jobs: Sequence[Job]) -> None:
    """Ask where these requests are until the Hub has them where the ledger has them."""
    ids = [job.msg_id for job in jobs]
    until_right(player, "result_request", {"msg_ids": ids, "status_only": True}, statuses(player.book, jobs),
                "query.result-by-msg-id")  # fmt: skip


def until_right(
    player: Player, msg_type: str, content: object, check: Check, slug: str, *, whom: Sequence[Peer] = ()
) -> None:
    """Ask until there is nothing to complain of; what is left at the end is a violation.

    If one of the engines that it is about is given up meanwhile, nothing can be said.
    """
    since, looks = player.world.now, 0
    while True:
        looks += 1
        wrong: list[Complaint] = []

        def look(reply: Message, wrong: list[Complaint] = wrong) -> Iterable[Complaint]:
            wrong += check(reply)
            return ()

        # An error is one complaint more, for as long as the Hub may not know.
        found = len(player.book.findings)
        player.ask_now(Question(msg_type, content, "ok", slug, check=look))
        errors = player.book.findings[found:]
        if not wrong and not errors:
            return
        if any(peer.state != "here" for peer in whom):
            del player.book.findings[found:]
            return
        told = [(each.slug, f"{each.found} in answer to {msg_type}") for each in wrong]
        # What is known to be wrong is not waited for.
        is_known = not errors and looks > KNOWN and all(player.is_known(*each) for each in told)
        if is_known or player.world.now - since > player.timing.reply_deadline:
            if player.is_steady(since, player.timing.reply_deadline):
                for complaint, (slug, what) in zip(wrong, told, strict=True):
                    player.book.accuse(slug, what, complaint.allowed)
            for job in player.book.jobs:
                # What was wrong once will be wrong again.
                job.is_muddled = job.is_muddled or any(job.msg_id in each.found for each in wrong)
            return
        del player.book.findings[found:]
        player.world.run_until(lambda: False, player.world.now + max(PAUSE, (player.world.now - since) // 3))


def compare(player: Player) -> None:
    """Compare what the Hub says of engines, queues, results, records and the history with the ledger."""
    book = player.book
    certain = [job for job in book.jobs if book.place(job) in ("pending", "completed")]
    until_right(player, "connection_request", {}, engines(player), "connection.request-answered")
    _compare_output(player)
    if not book.jobs:
        return
    if book.is_steady:
        _compare_queues(player)
    if certain:
        until_right(player, "result_request", {"msg_ids": [job.msg_id for job in certain], "status_only": True},
                    statuses(book, certain), "query.result-by-msg-id")  # fmt: skip
        done = [job for job in certain if book.place(job) == "completed"][-LOOKED_AT:]
        if done:
            ids = [job.msg_id for job in done]
            until_right(player, "result_request", {"msg_ids": ids}, outcomes(player, done), "query.result-completed")
        ids = [job.msg_id for job in certain[-2 * LOOKED_AT :]]
        until_right(player, "db_request", {"query": {"msg_id": {"$in": ids}}},
                    records(book, certain[-2 * LOOKED_AT :]), "query.db-answered")  # fmt: skip
    until_right(player, "history_request", {}, history(book), "query.history-answered")
    for job in [job for job in book.jobs if job.is_for_nobody][-1:]:
        question = Question("result_request", {"msg_ids": [job.msg_id]}, "any", check=no_result(job))
        player.ask_now(question)
    for job in [job for job in book.jobs if job.is_purged][-1:]:
        question = Question("result_request", {"msg_ids": [job.msg_id]}, "error", "query.purge-forgets")
        if question.slug not in player.avoid:
            player.ask_now(question)


def _compare_queues(player: Player) -> None:
    """Compare what the Hub says of engines and what they have."""
    book, here = player.book, list(player.book.here)
    if not here:
        return
    until_right(player, "queue_request", {"targets": None, "verbose": True}, lists(player),
                "query.queue-request-all-engines", whom=here)  # fmt: skip
    targets = [peer.engine.id for peer in here]
    counts = entries(book, here, verbose=False)
    asked = {"targets": targets, "verbose": False}
    until_right(player, "queue_request", asked, counts, "query.queue-counts", whom=here)
    if "query.load-answered" not in player.avoid:
        until_right(player, "load_request", {"targets": targets}, loads(player), "query.load-answered", whom=here)


def no_result(job: Job) -> Check:
    """What reached nobody has no good result."""

    def check(reply: Message) -> Iterable[Complaint]:
        entry = content_of(reply).get(job.msg_id)
        result = entry.get("result_content") if isinstance(entry, dict) else None
        if isinstance(result, dict) and result.get("status") == "ok":
            yield Complaint("storage.unroutable-unrecorded", f"the result {result!r:.100} of {job.msg_id}",
                            "none: it reached nobody")  # fmt: skip

    return check


def engines(player: Player) -> Check:
    """A connection reply must list exactly the engines that are there."""

    def check(reply: Message) -> Iterable[Complaint]:
        found = content_of(reply).get("engines")
        if not isinstance(found, dict):
            return
        for peer in player.book.peers:
            listed = found.get(str(peer.engine.id)) == peer.uuid
            if peer.state == "here" and not listed:
                yield Complaint("connection.engines-listed", f"{peer.engine.name} is not listed", "it is there")
            if peer.state == "pending" and listed and not peer.has_beaten:
                yield Complaint(
                    "connection.only-heard-engines", f"{peer.engine.name} is listed", "its heart never beat"
                )
            if peer.state == "gone" and listed and peer.uuid not in player.book.contested:
                yield Complaint("connection.no-dead-engines", f"{peer.engine.name} is listed", "it has gone")

    return check


def lists(player: Player) -> Check:
    """The queues of all engines, and what no engine has."""
    book = player.book
    here = entries(book, book.here, verbose=True)

    def check(reply: Message) -> Iterable[Complaint]:
        yield from here(reply)
        unassigned = content_of(reply).get("unassigned")
        if not isinstance(unassigned, list):
            yield Complaint("query.queue-unassigned", f"unassigned {unassigned!r:.100}", "a list")
            return
        for job in book.of("task"):
            if book.place(job) is None or job.is_muddled:
                continue
            waits = book.place(job) == "pending" and (not job.runs or job.runs[-1].end == "refused")
            # Who has left since may have been given it before.
            is_sure = job.client is not None and not any(peer.gone_at >= job.at for peer in book.peers)
            if is_sure and not job.runs and waits and job.msg_id not in unassigned:
                yield Complaint("query.queue-unassigned", f"{job.msg_id} is not among the unassigned", "it is")
            if not waits and job.msg_id in unassigned:
                yield Complaint("query.queue-unassigned", f"{job.msg_id} is among the unassigned", "an engine has it")

    return check


def loads(player: Player) -> Check:
    """The load of an engine is what it has in both queues."""
    book = player.book

    def check(reply: Message) -> Iterable[Complaint]:
        for peer in book.here:
            queues = queue_of(book, peer)
            number = (
                len(queues["queue"]) + len(queues["tasks"]) if queues is not None and not peer.is_littered else None
            )
            found = content_of(reply).get(str(peer.engine.id))
            if number is not None and found != number:
                yield Complaint("query.load-is-sum", f"load {found!r} of engine {peer.engine.id}", f"{number}")

    return check


def outcomes(player: Player, done: Sequence[Job]) -> Check:
    """Results with contents and buffers, and with what was printed."""
    whole = contents(player.book, done)

    def check(reply: Message) -> Iterable[Complaint]:
        yield from whole(reply)
        for job in done:
            entry = content_of(reply).get(job.msg_id)
            io = entry.get("io") if isinstance(entry, dict) else None
            for name, text in job.printed.items():
                if isinstance(io, dict) and io.get(name) != text:
                    yield Complaint(
                        "storage.output-recorded", f"{name} {io.get(name)!r:.100} of {job.msg_id}", f"{text!r}"
                    )

    return check


def _compare_output(player: Player) -> None:
    """What engines published must have come to who listens: all of it, in order, unchanged."""
    listener = player.listener
    if listener is None:
        return
    since, limit = player.world.now, player.timing.reply_deadline
    topics = {message.msg_id: message.identities for told in player.published.values() for message in told}

    def heard(uuid: str) -> list[str]:
        return [
            seen.message.msg_id
            for seen in listener.heard
            if seen.message and seen.message.header.get("session") == uuid
        ]

    player.world.run_until(
        lambda: all(len(heard(uuid)) >= len(told) for uuid, told in player.published.items()), since + limit
    )
    for seen in listener.heard:
        if seen.message is not None and seen.message.msg_id in topics:
            topic = topics[seen.message.msg_id]
            if seen.message.identities != topic:
                player.book.accuse("iopub.relayed-unchanged", f"the topic {seen.message.identities!r:.100}",
                                   f"{topic!r:.100}", evidence=(seen,))  # fmt: skip
    for uuid, told in player.published.items():
        wanted, found = [message.msg_id for message in told], heard(uuid)
        if found == wanted or not player.is_steady(since, limit):
            continue
        slug = "iopub.fifo-per-engine" if sorted(found) == sorted(wanted) else "iopub.reaches-all-clients"
        player.book.accuse(slug, f"{len(found)} of {len(wanted)} messages of an engine", "all of them, in order")
    player.published.clear()
    listener.heard.clear()


__all__ = ["await_places", "compare", "engines", "until_right"]
