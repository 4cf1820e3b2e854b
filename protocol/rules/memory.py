"""What a judge with a limited memory has forgotten.

A judge that is given a limit forgets a message once that many others have come after it, unless something is still
open: a request without a reply, a job whose client was told nothing. Whatever mentions what was forgotten is judged by
nobody: it cannot be known any more what came before it. So a recording of any length takes the memory of its latest
part; what is lost are second replies, repeated ids and the like that come that much later.
"""

from collections.abc import Iterable, Iterator, MutableMapping, MutableSet, Set
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

from protocol.errors import ProtocolError
from protocol.rules.parts import parent_of
from protocol.world import Observation

#: Requests that change what is true from then on, and are kept as long as it is.
KEPT: Final = frozenset({
    "registration_request", "unregistration_request", "purge_request", "resubmit_request", "shutdown_request",
})  # fmt: skip
#: How many times the limit of a judge it remembers that there was a message, though not which.
FADED: Final = 20


class Faded:
    """The ids that were forgotten, as eight bytes each; after `limit` more of them, those too."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._now: set[bytes] = set()
        self._before: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def __contains__(self, msg_id: str) -> bool:
        mark = _mark(msg_id)
        return mark in self._now or mark in self._before

    def add(self, ids: Iterable[str]) -> None:
        """Remember that these were forgotten."""
        self._now.update(map(_mark, ids))
        if len(self._now) > self._limit:
            self._before, self._now = self._now, set()


def _mark(msg_id: str) -> bytes:
    return blake2b(msg_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def mentioned(seen: Observation) -> Iterator[str]:
    """The ids that a message mentions: its own, that of what it belongs to, and that of what it is a copy of."""
    message = seen.message
    if message is None:
        return
    ids = [message.header.get("msg_id"), parent_of(message).get("msg_id")]
    if seen.channel == "broadcast":
        with suppress(ProtocolError):
            ids.append(message.metadata.get("original_msg_id"))
    yield from (each for each in ids if isinstance(each, str))


def forget(tables: Iterable[Any], gone: Set[str], limit: int) -> None:
    """Take what is about these ids out of tables by id, or by tuples with an id in them; of others keep the latest."""
    for table in tables:
        if isinstance(table, MutableMapping):
            for key in [key for key in table if _is_about(key, gone)]:
                del table[key]
            # What is known by other keys, such as the texts of pings.
            for key in list(table)[: max(0, len(table) - limit)]:
                del table[key]
        elif isinstance(table, MutableSet):
            table -= {key for key in table if _is_about(key, gone)}
        elif isinstance(table, list):
            del table[: max(0, len(table) - limit)]


def _is_about(key: object, gone: Set[str]) -> bool:
    if isinstance(key, tuple):
        return any(isinstance(part, str) and part in gone for part in key)
    return isinstance(key, str) and key in gone
