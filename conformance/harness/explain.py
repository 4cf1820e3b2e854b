"""The text of a failure: what was broken, what was sent and seen, and how to see it again."""

from collections.abc import Iterable, Sequence

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
    lines = [
        f"{requirement.level} {requirement.slug}",
        f"  {requirement.text}",
        f"  basis: {requirement.basis}; source: {'; '.join(requirement.source)}",
        "",
        f"at fault: {finding.guilty}",
        f"found:    {finding.found}",
    ]
    lines += [f"allowed:  {allowed}" for allowed in finding.allowed]
    if finding.nearest:
        lines += ["nearest allowed message differs in:", *(f"  {difference}" for difference in finding.nearest)]
    if finding.problems:
        lines += ["problems of the message:", *(f"  {problem}" for problem in finding.problems)]
    if observations:
        lines += ["", "what happened:", *diagram(observations, finding.evidence)]
    lines += ["", f"replay: {replay}"]
    return "\n".join(lines)


def diagram(observations: Sequence[Observation], evidence: Iterable[int] = ()) -> list[str]:
    """A sequence diagram in text: one line per message between a party of the kit and the target."""
    marked = set(evidence)
    start = observations[0].now
    width = max(len(seen.socket) for seen in observations)
    lines, raw = [], 0
    for seen in observations:
        is_raw = seen.message is None and seen.channel.startswith("heartbeat")
        raw += is_raw
        if is_raw and raw > _RAW_SHOWN and seen.seq not in marked:
            continue
        arrow = "──>" if seen.direction == "sent" else "<──"
        flag = "!" if seen.seq in marked else " "
        lines.append(f"{flag} {(seen.now - start) / SECOND:8.3f} s  {seen.socket:<{width}} {arrow} {_what(seen)}")
    if raw > _RAW_SHOWN:
        lines.append(f"  ({raw} heartbeat messages in all)")
    return lines


def _what(seen: Observation) -> str:
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
