"""What the rules find in what crossed the relay while a scenario happened."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import msgspec

from conformance.relay.jury import Charge, Jury
from conformance.relay.report import reading
from protocol.patterns import Dialect
from protocol.roles.speech import parent_id
from protocol.wire import Message
from protocol.world import Fact, Observation

#: Those who only look on, or break rules on purpose.
_OTHERS: Final = ("observer", "stranger")


def charges(path: Path, dialect: Dialect, *, touched: Collection[str], has_strangers: bool) -> Iterator[Charge]:
    """What somebody is guilty of. Nothing follows from messages whose ids are in `touched`, nor from what they answer.

    With strangers, or once anything was touched, not everybody's messages are what arrived: then nothing is concluded
    from what is not in the recording, nor at its end.
    """
    is_whole = not touched and not has_strangers
    with reading(path) as reader:
        setting = msgspec.structs.replace(reader.head.setting, dialect=dialect)
        jury = Jury(setting, reader.head.codec, is_whole=is_whole)
        ids: dict[int, tuple[str, ...]] = {}
        for item in reader:
            if isinstance(item, Observation) and item.message is not None:
                ids[item.seq] = _ids(item.message)
            yield from _fair(jury.observe(item), ids, touched, item)
        if is_whole:
            yield from _fair(jury.finish(reader.end), ids, touched, None)


def _ids(message: Message) -> tuple[str, ...]:
    """By what a message can be told: its id, what it answers, and who said it, whose ids may be unreadable."""
    session = message.header.get("session")
    return message.msg_id, parent_id(message), session if isinstance(session, str) else ""


def _fair(
    found: list[Charge], ids: dict[int, tuple[str, ...]], touched: Collection[str], item: Observation | Fact | None
) -> Iterator[Charge]:
    for charge in found:
        if charge.who.startswith(_OTHERS) or (item is not None and item.observer.startswith(_OTHERS)):
            continue
        about = {each for seq in charge.violation.evidence for each in ids.get(seq, ("", "")) if each}
        if any(each.startswith(_OTHERS) for each in about):
            # What others pass on of it is nonsense, too.
            continue
        if touched and (not about or not about.isdisjoint(touched)):
            continue
        yield charge


__all__ = ["charges"]
