"""The text of a failure: what was broken, what was sent and seen, and how to see it again."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from conformance.harness.expect import shorten
from conformance.harness.verdict import Finding
from protocol.errors import ProtocolError
from protocol.requirements import Requirement
from protocol.wire import Message
from protocol.world import SECOND, Observation

#: Heartbeats fill a diagram with what is seldom the point; only so many of them are drawn.
_RAW_SHOWN = 4


def explain(requirement: Requirement, finding: Finding, observations: Sequence[Observation], replay: str) -> str:
    """Everything a maintainer needs to agree or to contradict."""
    lines = [*broken(requirement), "", *charge(finding)]
    if observations:
        lines += ["", "what happened:", *diagram(observations, finding.evidence)]
    lines += ["", f"replay: {replay}"]
    return "\n".join(lines)


def broken(requirement: Requirement) -> list[str]:
    """What a requirement says, and where it says so."""
    return [
        f"{requirement.level} {requirement.slug}",
        f"  {requirement.text}",
        f"  basis: {requirement.basis}; source: {'; '.join(requirement.source)}",
    ]


def charge(finding: Finding) -> list[str]:
    """Who is at fault, what was found, and what would have been right."""
    lines = [f"at fault: {finding.guilty}", f"found:    {finding.found}"]
    lines += [f"allowed:  {allowed}" for allowed in finding.allowed]
    if finding.nearest:
        lines += ["nearest allowed message differs in:", *(f"  {difference}" for difference in finding.nearest)]
    if finding.problems:
        lines += ["problems of the message:", *(f"  {problem}" for problem in finding.problems)]
    return lines


class Row(NamedTuple):
    """One row of a text diagram: when (nanoseconds), where, which way, and what; `seq` is its number as evidence."""

    seq: int
    now: int
    place: str
    arrow: str
    what: str
    is_raw: bool = False


def diagram(observations: Sequence[Observation], evidence: Iterable[int] = ()) -> list[str]:
    """A sequence diagram in text: one line per message between a party of the kit and the target."""
    return draw([_row(seen) for seen in observations], evidence)


def draw(rows: Sequence[Row], evidence: Iterable[int] = ()) -> list[str]:
    """Rows as text, times since the first of them; those of the evidence are marked."""
    marked = set(evidence)
    start = rows[0].now
    width = max(len(row.place) for row in rows)
    lines, raw = [], 0
    for row in rows:
        raw += row.is_raw
        if row.is_raw and raw > _RAW_SHOWN and row.seq not in marked:
            continue
        flag = "!" if row.seq in marked else " "
        lines.append(f"{flag} {(row.now - start) / SECOND:8.3f} s  {row.place:<{width}} {row.arrow} {row.what}")
    if raw > _RAW_SHOWN:
        lines.append(f"  ({raw} heartbeat messages in all)")
    return lines


def _row(seen: Observation) -> Row:
    is_raw = seen.message is None and seen.channel.startswith("heartbeat")
    return Row(seen.seq, seen.now, seen.socket, "──>" if seen.direction == "sent" else "<──", told(seen), is_raw)


def told(seen: Observation) -> str:
    """A message in one line: its type, its content in short, what it answers, and why it was damaged on purpose."""
    if seen.message is None:
        frames = ", ".join(_frame(bytes(frame)) for frame in seen.frames[:8])
        more = f", … {len(seen.frames)} frames" if len(seen.frames) > 8 else ""
        text = f"[{frames}{more}]"
    else:
        message = seen.message
        try:
            content = shorten(message.content, 200)
        except ProtocolError as error:  # a damaged message must still be shown
            content = f"<{type(error).__name__}>"
        parent = message.parent_header.get("msg_id") if _has_parent(message) else None
        text = f"{message.msg_type} {content}" + (f" ↩ {parent}" if parent else "")
    return f"{text}   ({seen.why})" if seen.why else text


def _has_parent(message: Message) -> bool:
    try:
        return bool(message.parent_header)
    except ProtocolError:
        return False


def _frame(frame: bytes) -> str:
    text = repr(frame[:40])
    return text if len(frame) <= 40 else f"{text}… {len(frame)} bytes"
