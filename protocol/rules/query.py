"""What the Hub tells of queues and load, and how it says no."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from protocol.rules.framework import AnswerRule, Kind, Observe, Rule, Violation
from protocol.rules.ledger import Exchange
from protocol.rules.parts import content_seen, lost_keys, parent_of, text_list, whole
from protocol.world import Observation

QUEUES = ("queue", "completed", "tasks")


def is_ok(seen: Observation) -> bool:
    """Whether an answer reports success."""
    return content_seen(seen).get("status") == "ok"


class OkRule(AnswerRule):
    """Base of rules about a successful reply to a request that was not damaged."""

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.msg_type in self.types else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        exchange, message = self.ledger.answered(seen), seen.message
        if exchange is None or exchange.is_damaged or message is None or message.msg_type not in self.types:
            return ()
        return self.check(seen, exchange) if is_ok(seen) else ()


class UnknownTypeHubError(AnswerRule):
    """A request of an unknown type is answered with `hub_error`."""

    slug = "query.unknown-type-hub-error"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if exchange.row is not None or seen.message is None:
            return ()
        kind = seen.message.msg_type
        found = f"{kind} for a {exchange.message.msg_type!r:.40}"
        return self.judge(kind == "hub_error", seen, found, "hub_error", evidence=[exchange.request])


class HubErrorShape(AnswerRule):
    """`hub_error` has status `error`, `ename`, `evalue` and `traceback`."""

    slug = "query.hub-error-shape"
    types = frozenset({"hub_error"})

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        content = content_seen(seen)
        missing = [key for key in ("ename", "evalue", "traceback") if key not in content]
        found = f"a hub_error with status {content.get('status')!r}, without {missing}"
        holds = content.get("status") == "error" and not missing
        return self.judge(holds, seen, found, "status error, ename, evalue, traceback", evidence=[exchange.request])


class HubErrorNamesRequest(AnswerRule):
    """The parent header of `hub_error` is the header of the request that failed."""

    slug = "query.hub-error-names-request"
    types = frozenset({"hub_error"})

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        assert seen.message is not None
        parent = parent_of(seen.message)
        found = f"the parent header {parent!r:.120}"
        holds = not lost_keys(exchange.message.header, parent)
        return self.judge(holds, seen, found, "the header of the request", evidence=[exchange.request])


class AnsweredInOrder(AnswerRule):
    """Requests that one client sends one after the other are answered in that order."""

    slug = "query.answered-in-order"
    channels = frozenset({"query"})

    def begin(self) -> None:
        self._latest: dict[str, tuple[Exchange, Observation]] = {}

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if len(exchange.replies) > 1 or exchange.message.msg_id in self.ledger.touched:
            # What the network delays or doubles may overtake, and be overtaken.
            return
        latest = self._latest.get(seen.socket)
        if latest is None or latest[0].request.seq < exchange.request.seq:
            self._latest[seen.socket] = (exchange, seen)
        if latest is not None:
            found = f"the answer to {exchange.message.msg_id} after the one to a later request"
            evidence = [exchange.request, latest[0].request, latest[1]]
            holds = latest[0].request.seq < exchange.request.seq
            yield from self.judge(holds, seen, found, "the order of the requests", evidence=evidence)


class EnginesRule(OkRule):
    """Base of rules about a successful reply that tells something of each engine."""

    def entries(self, seen: Observation) -> dict[str, Any]:
        """What a `queue_reply` or `load_reply` tells of each engine, by id if the reply is right.

        What has no id, names no engine and looks like no entry is an unknown key, which everybody may add.
        """
        uuids = self.ledger.engines.of_uuid
        return {
            key: value
            for key, value in content_seen(seen).items()
            if key.isdecimal() or key in uuids or (isinstance(value, dict) and not value.keys().isdisjoint(QUEUES))
        }

    def targets(self, exchange: Exchange) -> set[str] | None:
        """The ids, as text, that a request names; None for all engines or where a uuid is not known."""
        wanted = content_seen(exchange.request).get("targets")
        ids: set[str] = set()
        for target in wanted if isinstance(wanted, list) else [wanted]:
            number = whole(target)
            if number is None and isinstance(target, str):
                known = self.ledger.engines.of_uuid.get(target, [])
                number = known[-1].id if known else None
            if number is None:
                return None
            ids.add(str(number))
        return ids


class QueueRule(EnginesRule):
    """Base of rules about a successful `queue_reply`."""

    types = frozenset({"queue_reply"})


class QueueTargets(QueueRule):
    """The reply has one entry for each engine named and for no other."""

    slug = "query.queue-targets-list"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        wanted = self.targets(exchange)
        if wanted is None:
            return ()
        found = f"entries for {sorted(self.entries(seen))}"
        return self.judge(
            set(self.entries(seen)) == wanted, seen, found, f"{sorted(wanted)}", evidence=[exchange.request]
        )


class QueueAllEngines(QueueRule):
    """A null `targets` means all engines: the reply has every registered one."""

    slug = "query.queue-request-all-engines"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if content_seen(exchange.request).get("targets", ...) is not None:
            return
        engines = self.ledger.engines
        for engine in engines.all():
            announced = engine.announced_before(exchange.request)
            if announced is not None and engines.is_surely_alive(engine, seen.now):
                found = f"entries for {sorted(self.entries(seen))} without engine {engine.id}"
                evidence = [announced, exchange.request]
                yield from self.judge(
                    str(engine.id) in self.entries(seen), seen, found, "all engines", evidence=evidence
                )


class QueueKeys(QueueRule):
    """The entries are keyed by the engine id as a decimal string."""

    slug = "query.queue-keys-are-strings"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        wrong = [key for key in self.entries(seen) if not key.isdecimal()]
        return self.judge(not wrong, seen, f"the keys {wrong}", "engine ids", evidence=[exchange.request])


class QueueThreeKeys(QueueRule):
    """Each entry has `queue`, `completed` and `tasks`."""

    slug = "query.queue-three-keys"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        for key, entry in self.entries(seen).items():
            missing = [name for name in QUEUES if not isinstance(entry, dict) or name not in entry]
            found = f"entry {key} without {missing}"
            yield from self.judge(not missing, seen, found, "all three", evidence=[exchange.request])


class QueueUnassigned(QueueRule):
    """The reply has `unassigned`, as number or list like the others."""

    slug = "query.queue-unassigned"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        value = content_seen(seen).get("unassigned")
        is_verbose = content_seen(exchange.request).get("verbose", False) is True
        holds = isinstance(value, list) if is_verbose else whole(value) is not None
        found = f"unassigned {value!r:.80}"
        return self.judge(holds, seen, found, "a list" if is_verbose else "a number", evidence=[exchange.request])


class ShapeRule(QueueRule):
    """Base of the rules whether queues are counted or listed."""

    allowed = ""

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        asked = content_seen(exchange.request)
        if not self.applies(asked):
            return
        for key, entry in self.entries(seen).items():
            for name in QUEUES:
                value = entry.get(name) if isinstance(entry, dict) else None
                found = f"{key}.{name} {value!r:.80}"
                yield from self.judge(self.fits(value), seen, found, self.allowed, evidence=[exchange.request])

    @abstractmethod
    def applies(self, asked: dict[str, Any]) -> bool:
        """Whether a request with this content is the rule's business."""

    def fits(self, value: object) -> bool:
        """Whether a queue may be told so."""
        number = whole(value)
        return number is not None and number >= 0


class QueueCounts(ShapeRule):
    """With `verbose` false each queue is a number of messages."""

    slug = "query.queue-counts"
    allowed = "a number of messages"

    def applies(self, asked: dict[str, Any]) -> bool:
        return asked.get("verbose") is False


class QueueVerboseDefault(ShapeRule):
    """Without `verbose` the reply has numbers."""

    slug = "query.queue-verbose-default"
    allowed = "a number of messages"

    def applies(self, asked: dict[str, Any]) -> bool:
        return "verbose" not in asked


class QueueVerboseLists(ShapeRule):
    """With `verbose` true each queue is the list of message ids."""

    slug = "query.queue-verbose-lists"
    allowed = "a list of message ids"

    def applies(self, asked: dict[str, Any]) -> bool:
        return asked.get("verbose") is True

    def fits(self, value: object) -> bool:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)


class CountsMatchLists(QueueRule):
    """The numbers are the lengths of the lists.

    Provable where a verbose reply stands between two that count, both counts are the same, and `completed`, which
    only grows, did not: then nothing happened in between.
    """

    slug = "query.queue-counts-match-lists"

    def begin(self) -> None:
        self._count: dict[tuple[str, str], tuple[Observation, dict[str, int]]] = {}
        self._lists: dict[tuple[str, str], tuple[Observation, dict[str, int]]] = {}

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        for engine, entry in self.entries(seen).items():
            if not isinstance(entry, dict) or not all(name in entry for name in QUEUES):
                continue
            key = (seen.socket, engine)
            if all(isinstance(entry[name], list) for name in QUEUES):
                if key in self._count:
                    self._lists[key] = (seen, {name: len(entry[name]) for name in QUEUES})
                continue
            counts = {name: whole(entry[name]) or 0 for name in QUEUES}
            before, lists = self._count.get(key), self._lists.pop(key, None)
            self._count[key] = (seen, counts)
            if before is None or lists is None or before[1] != counts:
                continue
            found = f"lists of {lists[1]} where {counts} were counted before and after"
            yield from self.judge(lists[1] == counts, lists[0], found, f"{counts}", evidence=[before[0], seen])


class OneReplyAgrees(QueueRule):
    """What stands in `completed` is neither queued nor assigned nor unassigned."""

    slug = "query.queue-agrees-with-results"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        listed = [entry for entry in self.entries(seen).values() if isinstance(entry, dict)]
        done = {each for entry in listed for each in text_list(entry.get("completed"))}
        waiting = {each for entry in listed for name in ("queue", "tasks") for each in text_list(entry.get(name))}
        waiting.update(text_list(content_seen(seen).get("unassigned")))
        if not done and not waiting:
            return ()
        both = sorted(done & waiting)
        return self.judge(not both, seen, f"{both} completed and not", "one of both", evidence=[exchange.request])


class LoadAnswered(EnginesRule):
    """A load request is answered per engine, keyed by id as a string, with the number of messages outstanding."""

    slug = "query.load-answered"
    types = frozenset({"load_reply"})

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        told, wanted = self.entries(seen), self.targets(exchange)
        numbers = all((whole(value) if whole(value) is not None else -1) >= 0 for value in told.values())  # type: ignore[operator]
        holds = numbers and (wanted is None or wanted == set(told))
        allowed = "a number for each engine" + (f" of {sorted(wanted)}" if wanted is not None else "")
        return self.judge(holds, seen, f"{told!r:.120}", allowed, evidence=[exchange.request])


RULES: tuple[type[Rule], ...] = (
    UnknownTypeHubError,
    HubErrorShape,
    HubErrorNamesRequest,
    AnsweredInOrder,
    QueueTargets,
    QueueAllEngines,
    QueueKeys,
    QueueThreeKeys,
    QueueUnassigned,
    QueueCounts,
    QueueVerboseDefault,
    QueueVerboseLists,
    CountsMatchLists,
    OneReplyAgrees,
    LoadAnswered,
)
