"""What nobody should do: strays, damage, replays, forgeries; and output, good and bad."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from conformance.harness.actors import RESULT_BUFFERS, Client
from conformance.model import steps as alphabet
from conformance.model.endings import Endings
from conformance.model.ledger import Job, Peer
from conformance.model.orders import NEVER
from conformance.model.questions import QUESTIONS
from conformance.model.working import FAILURE
from protocol.damage import Given, damage
from protocol.errors import ProtocolError
from protocol.wire import DELIMITER, Codec, Frame, Message
from protocol.world import Observation

#: The delimiter, the signature and the four parts of a message.
PARTS: Final = 6
#: What is not kept by schedulers that read no more than they need.
_LOOKS_AWAY: Final = "task.malformed-metadata-answered"


class Mischief(Endings):
    """See the module."""

    def do_stray(self, step: alphabet.Stray) -> None:
        """Answer what was not asked."""
        peer = self.book.peer(step.engine)
        if peer is None or not peer.engine.is_open or peer.state != "here":
            return
        queue = peer.engine.queue(step.queue)
        if step.what == "unreadable":
            if f"{step.queue}.garbage-harmless" not in self.avoid:
                queue.send_raw([b"x"], "an answer that cannot be read")
            return
        slug = "task.stranger-reply-dropped" if step.queue == "task" else "storage.late-result-once"
        if slug in self.avoid:
            return
        if step.what in ("again", "again-otherwise"):
            runs = [run for run in peer.runs if run.reply is not None and run.seen.channel == step.queue]
            if not runs or runs[-1].end == "refused":
                return
            run = runs[-1]
            job = self.book.by_id.get(run.seen.message.msg_id if run.seen.message else "")
            if job is None or job.is_muddled or (step.queue == "task" and not job.replies):
                return
            if step.queue != "task":
                # A relay passes what comes; its record stays as it was.
                job.extra += 1
            content = FAILURE if step.what == "again-otherwise" else None
            self._stray(peer, run.seen, content)
        elif step.queue == "task":
            others = [run for other in self.book.here if other is not peer for run in other.open("task")]
            seen = others[0].seen if others else None
            if seen is None:
                return
            assert seen.message is not None
            if step.what == "unasked":
                parent = {**seen.message.header, "msg_id": NEVER}
                reply = peer.engine.make("apply_reply", {"status": "ok"}, parent=parent, buffers=RESULT_BUFFERS,
                                         metadata={"status": "ok", "dependencies_met": True, "engine": peer.uuid},
                                         identities=seen.message.identities)  # fmt: skip
                queue.send_raw(self.controller.codec.encode(reply), "an answer to what nobody asked")
            else:
                self._stray(peer, seen, None)

    def _stray(self, peer: Peer, seen: Observation, content: Any) -> None:
        assert seen.message is not None
        if seen.message.msg_type not in ("apply_request", "clear_request"):
            return
        buffers = () if seen.channel == "control" else (b"of a stranger",)
        peer.engine.answer(seen, channel=seen.channel, content=content, buffers=buffers)

    def do_print(self, step: alphabet.Print) -> None:
        """Publish."""
        peer = self.book.peer(step.engine)
        if peer is None or not peer.engine.is_open or peer.state != "here":
            return
        if self.listener is None:
            self.listener = self.controller.listener(peer.engine)
            self.proved.add(peer.uuid)
        elif peer.uuid not in self.proved:
            self.listener.proved(peer.engine)
            self.proved.add(peer.uuid)
        if step.what == "garbage":
            if "iopub.garbage-harmless" not in self.avoid:
                peer.engine.publisher.send_raw([b"garbage", b"without a delimiter"], "no message at all")
            return
        runs = [run for run in peer.open() if run.seen.message is not None]
        run = runs[0] if runs else None
        parent = run.seen.message if run is not None else None
        number = len(self.marks)
        kinds: dict[str, tuple[str, Any]] = {
            "stdout": ("stream", {"name": "stdout", "text": f"line {number}\n"}),
            "stderr": ("stream", {"name": "stderr", "text": f"oh {number}\n"}),
            "input": ("execute_input", {"code": f"{number} + 1", "execution_count": number}),
            "result": ("execute_result", {"execution_count": number, "data": {"text/plain": "7"}, "metadata": {}}),
            "error": ("error", {"ename": "E", "evalue": f"{number}", "traceback": []}),
            "status": ("status", {"execution_state": "busy"}),
            "burst": ("stream", {"name": "stdout", "text": f"burst {number}\n"}),
        }  # fmt: skip
        msg_type, content = kinds[step.what]
        for _ in range(4 if step.what == "burst" else 1):
            topic = f"engine.{peer.engine.id}.{content['name']}" if msg_type == "stream" else None
            message = peer.engine.publish(msg_type, content, topic=topic, parent=parent)
            self.published.setdefault(peer.uuid, []).append(message)
            job = self.book.by_id.get(parent.msg_id) if parent is not None else None
            if job is not None and msg_type == "stream":
                job.printed[content["name"]] = job.printed.get(content["name"], "") + content["text"]

    def _good(self, party: Client, channel: str, peer: Peer | None) -> Message:
        if channel == "query":
            return party.make("connection_request", {})
        to = (peer.uuid.encode() if peer is not None else b"nobody-has-this",)
        if channel == "broadcast":
            pairs = [[each.uuid, each.engine.id] for each in self.book.here]
            metadata = {"targets": pairs, "is_broadcast": True, "is_coalescing": False}
            return party.make("apply_request", None, metadata=metadata, buffers=(b"f", b"", b""))
        msg_type, buffers = ("clear_request", ()) if channel == "control" else ("apply_request", (b"f", b"", b""))
        return party.make(msg_type, {}, buffers=buffers, identities=() if channel == "task" else to)

    def do_damage(self, step: alphabet.Damage) -> None:
        """Send something damaged."""
        party = self._party(step.who, step.number)
        if party is None or self._is_risky(step.channel, step.who):
            return
        peer = self.book.peer(step.number)
        message = self._good(party, step.channel, peer)
        self.book.wild.add(message.msg_id)
        codec = self.controller.codec
        broken = damage(step.kind, codec, codec.encode(message), Given(step.numbers))
        if not broken.frames or (step.channel != "query" and not broken.required):
            # What may be accepted on a queue comes to somebody, and is nothing that anybody has sent.
            return
        if step.channel == "task" and "signature" not in broken.required and _LOOKS_AWAY in self.avoid:
            # What a scheduler passes on unread occupies an engine that can make nothing of it, for ever.
            return
        with suppress(ProtocolError):
            self.book.wild.add(codec.open(broken.frames).msg_id)
        if peer is not None and step.channel in ("mux", "broadcast"):
            peer.is_littered = True
        if self._is_answered_oddly(step.channel, broken.frames):
            return
        socket = party.query if step.channel == "query" else party.queue(step.channel)
        socket.send_raw(broken.frames, f"damaged on purpose: {step.kind}")

    def _is_risky(self, channel: str, who: str) -> bool:
        return f"{channel}.garbage-harmless" in self.avoid or (channel == "broadcast" and who == "engine")

    def _is_answered_oddly(self, channel: str, frames: Sequence[Frame]) -> bool:
        """Whether this is known to be answered as if it were somebody's request."""
        is_short = DELIMITER in frames and len(frames) - list(frames).index(DELIMITER) < PARTS
        return channel == "query" and is_short and "wire.all-parts-present" in self.avoid

    def do_frames(self, step: alphabet.Frames) -> None:
        """Send what is no message."""
        party = self._party(step.who, step.number)
        if party is None or self._is_risky(step.channel, step.who):
            return
        frames: dict[str, list[Frame]] = {
            "empty": [b""], "lone": [b"lone"], "delimiter": [DELIMITER], "many": [b"%d" % n for n in range(40)],
            "large": [b"x" * 100_000, b"y"],
        }  # fmt: skip
        if self._is_answered_oddly(step.channel, frames[step.what]):
            return
        socket = party.query if step.channel == "query" else party.queue(step.channel)
        socket.send_raw(frames[step.what], f"no message: {step.what}")

    def do_replay(self, step: alphabet.Replay) -> None:
        """Send something once more."""
        kept = self.sent.get(step.channel)
        if not kept:
            return
        if step.channel == "task" and "task.repeated-request-ignored" in self.avoid:
            return
        client, frames, message = kept[-1 - step.about % len(kept)]
        job = self.book.by_id.get(message.msg_id) if message is not None else None
        if step.channel in ("mux", "control") and job is not None:
            job.is_muddled = True
            if job.peer is not None:
                job.peer.is_littered = True
        party = client if step.by == "same" else self.client(len(self.marks) % alphabet.CLIENTS)
        if party is not client and not self.is_virtual and message is not None:
            # On another socket it may be there before the original, which is then the copy.
            is_first = self.has_arrived(job) if job is not None else message.msg_id in self.answers
            if not is_first:
                return
        socket = party.query if step.channel == "query" else party.queue(step.channel)
        if not party.is_open:
            return
        socket.send_raw(frames, "sent before")

    def do_forge(self, step: alphabet.Forge) -> None:
        """Send a copy that is not genuine, then the genuine one, or none."""
        if "wire.forged-copy-does-not-block" in self.avoid:
            return
        client, stranger = self.client(0), self.client(1)
        peer = next(iter(self.book.here), None)
        if step.channel == "mux" and peer is None:
            return
        message = self._good(client, step.channel, peer)
        frames = list(self.controller.codec.encode(message))
        at = frames.index(DELIMITER)
        if step.is_followed:
            # The signature is right, and the content is not what was signed.
            frames[at + 5] = b'{"forged":1}'
        else:
            other = Codec(self.controller.codec.key + b"x", scheme=self.controller.codec.scheme)
            frames[at + 1] = other.sign(b"".join(map(bytes, frames[at + 2 : at + 6])))
            self.book.wild.add(message.msg_id)
        socket = stranger.query if step.channel == "query" else stranger.queue(step.channel)
        if step.channel == "mux":
            # A relay looks at no signature: what it passes is for the engine to refuse.
            self.book.wild.add(message.msg_id)
            assert peer is not None
            peer.is_littered = True
            socket.send_raw(frames, "forged")
            return
        socket.send_raw(frames, "forged")
        if not step.is_followed:
            return
        self.world.run_until(lambda: False, self.world.now + (1_000_000 if self.is_virtual else 0))
        self._send(client, step.channel, message, None)
        if step.channel == "query":
            question = QUESTIONS["connection"](self.book, 0, None)
            question.slug = "wire.forged-copy-does-not-block"
            self._expect(client, message, question)
        else:
            self.book.add(Job(message, client, "task", at=self.world.now))
