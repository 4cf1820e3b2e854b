"""Building blocks of mistakes that a kernel can make: what passes between a sound one and frontends is rewritten."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.relay.rewriting import Alter, Drop, Duplicate, Hold, Passing, Rule, When, of

ERROR = {"status": "error", "ename": "Mistake", "evalue": "made on purpose", "traceback": []}


@dataclass(frozen=True)
class Mistake:
    """One mistake. `found` names each case that must find it, and the requirement that it accuses."""

    name: str
    rules: Callable[[], Sequence[Rule]]
    found: dict[str, str]


MISTAKES: dict[str, Mistake] = {}


def mistake(name: str, found: dict[str, str], *rules: Callable[[], Rule]) -> None:
    """One more; rules remember what they saw, so each run makes its own."""
    assert name not in MISTAKES
    MISTAKES[name] = Mistake(name, lambda: [make() for make in rules], found)


def every() -> Iterator[tuple[str, str, str]]:
    """Each mistake with each case that must find it, and the requirement that the case must accuse."""
    for each in MISTAKES.values():
        for case, slug in each.found.items():
            yield each.name, case, slug


# -- what can be changed -----------------------------------------------------------------------------------------------


def down(*types: str, channel: str = "", where: When | None = None) -> When:
    """What the kernel sends."""
    return of(*types, channel=channel, is_up=False, where=where)


def published(*types: str, state: str = "") -> When:
    """What the kernel publishes; with `state`, a status that says so."""
    return down(*types, channel="kernel-iopub", where=lambda p: state in ("", said(p).get("execution_state")))


def said(passing: Passing) -> dict[str, Any]:
    """The content of a message."""
    return {} if passing.message is None else passing.message.content


def changed(when: When, **changes: Any) -> Callable[[], Rule]:
    """Other fields in the content of these messages; a field that is `...` is left out."""

    def change(passing: Passing) -> Passing:
        kept = {key: value for key, value in said(passing).items() if key not in changes}
        return passing.replace(content=kept | {key: value for key, value in changes.items() if value is not ...})

    return lambda: Alter(when, change)


def replies(msg_type: str, **changes: Any) -> Callable[[], Rule]:
    """Replies of this type have other fields."""
    return changed(down(msg_type), **changes)


def becomes(msg_type: str, status: str, content: dict[str, Any]) -> Callable[[], Rule]:
    """Replies with this status have quite another content."""
    meant = down(msg_type, where=lambda p: said(p).get("status") == status)
    return lambda: Alter(meant, lambda p: p.replace(content=content))


def requests(msg_type: str, **changes: Any) -> Callable[[], Rule]:
    """The kernel reads these requests as if they said something else."""
    return changed(of(msg_type, is_up=True), **changes)


def lost(when: When) -> Callable[[], Rule]:
    """These never arrive."""
    return lambda: Drop(when)


def twice(when: When) -> Callable[[], Rule]:
    """These arrive twice."""
    return lambda: Duplicate(when)


def late(when: When, until: When, *, across: bool = False, times: int | None = None) -> Callable[[], Rule]:
    """These come after what they should come before."""
    return lambda: Hold(when, until, across=across, times=times)


def parents(when: When) -> Callable[[], Rule]:
    """These name another parent."""
    return lambda: Alter(when, lambda p: p.replace(parent_header={"msg_id": "of-another"}))
