"""From an ability that failed to the party that broke a requirement first, if that can be known.

Only what was seen counts, in this order:

1. A rule was broken by a message (see `witness`), in a way in which none was while abilities of this cluster succeeded.
2. A chain is broken. A request of a client comes to the controller, from there to an engine, the reply to the
   controller, and from there to the client: whoever should have made the next step and did not.
3. What had to be shown (`Wanted`) was not. If the client was shown it, the client is to blame; if only the controller
   was, the controller; else whoever answered.
4. An error that nobody expected: who said it.

Otherwise the blame is undetermined. A request is not held against an engine that had another one to do, nor against
anybody if nobody waited for it: some abilities keep an engine busy on purpose.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from conformance.interop.ability import Failure, Wanted
from conformance.interop.traffic import CONTROLLER, Seen, Window
from conformance.interop.witness import Charge
from protocol import pickles

UNDETERMINED: Final = "undetermined"

#: What a controller breaks that does not pass a request on, or a reply, by channel.
_LOST: Final[Mapping[str, tuple[str, str]]] = {
    "mux": ("mux.routes-by-identity", "mux.reply-to-requester"),
    "control": ("control.routes-by-identity", "control.reply-to-requester"),
    "task": ("task.some-engine-runs", "task.reply-to-requester"),
    "broadcast": ("broadcast.reaches-each-target", "broadcast.reply-per-target"),
}
#: What an engine breaks that does not answer.
_SILENT: Final = {
    "apply_request": "apply.answered",
    "execute_request": "kernel.execute-answered",
    "clear_request": "control.clear-answered",
    "abort_request": "control.abort-answered",
    "signal_request": "control.signal-answered",
    "shutdown_request": "control.shutdown-answered",
}


class Blame(msgspec.Struct, frozen=True, kw_only=True):
    """Who broke which requirement, and how that shows. The party may be `undetermined`."""

    party: str
    requirement: str
    how: str


def blame(failure: Failure, requirement: str, window: Window, charges: Sequence[Charge], client: str) -> Blame:
    """Find out who was to blame for a failed ability, which stands for a requirement.

    `charges` are what rules found in the window, less what is known to do no harm; `client` is the client's name. Where
    it is known which requests are waited for, what was broken beside them explains nothing.
    """
    wanted = failure.wanted
    awaited = wanted.msg_ids if wanted else ()
    for charge in charges:
        if not awaited or window.concerns(charge.seq, awaited):
            how = f"{charge.msg_type or 'a message'}: {charge.found}"
            return Blame(party=charge.party, requirement=charge.requirement, how=how)
    found = next(_broken_chains(window, awaited, is_late=failure.kind == "late"), None)
    if found is None and wanted is not None:
        found = _not_shown(window, wanted, requirement, client)
    if found is None and failure.names:
        found = _error(window, failure.names, requirement)
    return found or Blame(party=UNDETERMINED, requirement=requirement, how=failure.text)


# -- chains ------------------------------------------------------------------------------------------------------------


def _broken_chains(window: Window, awaited: Collection[str], *, is_late: bool) -> Iterator[Blame]:
    requests = window.requests()
    for request in requests:
        yield from _altered(window, request)
    if not is_late:
        return
    for engine in sorted(window.unannounced):
        how = f"{engine} ended, and the client was not told"
        yield Blame(party=CONTROLLER, requirement="notification.unregistration-published", how=how)
    # What the controller loses is lost whoever waits for it; whoever is slow is only slow for those who wait.
    for request in requests:
        yield from _lost(window, request, request.msg_id in awaited)
    for request in requests:
        if request.msg_id in awaited:
            yield from _unanswered(window, request)


def _altered(window: Window, request: Seen) -> Iterator[Blame]:
    """A relay or a scheduler that changed what it passed on."""
    for copy in window.delivered(request):
        if copy.opaque != request.opaque:
            how = f"{request.msg_type} reached {copy.hop.party} with other content or buffers"
            yield Blame(party=CONTROLLER, requirement="wire.relayed-parts-unchanged", how=how)
    sent = {each.opaque for each in window.replies(request.msg_id, at_client=False)}
    for reply in window.replies(request.msg_id, at_client=True):
        is_single = request.hop.channel in ("mux", "control")
        if is_single and sent and reply.opaque not in sent:
            how = f"{reply.msg_type} reached the client with other content or buffers than the engine sent"
            yield Blame(party=CONTROLLER, requirement="wire.relayed-parts-unchanged", how=how)


def _lost(window: Window, request: Seen, is_awaited: bool) -> Iterator[Blame]:
    """A request or a reply that the controller has, and that should have left it."""
    channel = request.hop.channel
    at_client = window.replies(request.msg_id, at_client=True)
    if channel == "query":
        if not at_client:
            how = f"{request.msg_type} was not answered"
            yield Blame(party=CONTROLLER, requirement="wire.every-request-answered", how=how)
        return
    if channel not in _LOST or at_client:
        return
    request_lost, reply_lost = _LOST[channel]
    copies = window.delivered(request)
    replies = window.replies(request.msg_id, at_client=False)
    is_addressed = channel in ("mux", "control")
    if is_addressed and replies:
        how = f"{replies[0].msg_type} of {replies[0].hop.party} did not reach the client"
        yield Blame(party=CONTROLLER, requirement=reply_lost, how=how)
    elif is_addressed and not copies and not window.is_for_the_dead(request):
        how = f"{request.msg_type} did not reach its engine"
        yield Blame(party=CONTROLLER, requirement=request_lost, how=how)
    elif not is_addressed and is_awaited and replies and replies[-1].content.get("status") == "ok":
        if {each.hop.party for each in copies} - {each.hop.party for each in replies}:
            # One reply for all waits for all.
            return
        # A task that failed may be tried again; one that succeeded is over.
        how = f"{replies[-1].msg_type} of {replies[-1].hop.party} did not reach the client"
        yield Blame(party=CONTROLLER, requirement=reply_lost, how=how)
    elif not is_addressed and is_awaited and not copies and not _is_anybody_busy(window, request):
        how = f"{request.msg_type} reached no engine, although none was busy"
        yield Blame(party=CONTROLLER, requirement=request_lost, how=how)


def _unanswered(window: Window, request: Seen) -> Iterator[Blame]:
    """An engine that has a request for which somebody waits, and did not answer it."""
    channel = request.hop.channel
    answered = {each.hop.party for each in window.replies(request.msg_id, at_client=False)}
    at_client = window.replies(request.msg_id, at_client=True)
    for copy in window.delivered(request):
        engine = copy.hop.party
        if engine in answered:
            continue
        if engine in window.gone:
            if at_client:
                continue
            if channel == "mux":
                how = f"{engine} ended, which the client was told, and it waits for {request.msg_type} all the same"
                yield Blame(party=request.hop.party, requirement="mux.dead-engine-inferred", how=how)
            elif channel == "task":
                how = f"{engine} ended, and the client got no error for its {request.msg_type}"
                yield Blame(party=CONTROLLER, requirement="task.engine-death-error", how=how)
        elif not _is_occupied(window, request, copy):
            how = f"{request.msg_type} reached it and was not answered"
            yield Blame(party=engine, requirement=_SILENT.get(request.msg_type, "wire.every-request-answered"), how=how)


def _is_occupied(window: Window, request: Seen, copy: Seen) -> bool:
    """Whether an engine had another request before this one that it has not answered either."""
    for other in window.requests():
        if other.msg_id == request.msg_id or request.hop.channel == "control":
            continue
        earlier = [each for each in window.delivered(other) if each.hop.party == copy.hop.party]
        answered = {each.hop.party for each in window.replies(other.msg_id, at_client=False)}
        if earlier and earlier[0].hop.seq < copy.hop.seq and copy.hop.party not in answered:
            return True
    return False


def _is_anybody_busy(window: Window, request: Seen) -> bool:
    """Whether some other request is at an engine, unanswered: a task may have to wait for it."""
    return any(
        {each.hop.party for each in window.delivered(other)}
        - {each.hop.party for each in window.replies(other.msg_id, at_client=False)}
        - window.gone
        for other in window.requests()
        if other.msg_id != request.msg_id
    )


# -- what had to be shown ----------------------------------------------------------------------------------------------


def _not_shown(window: Window, wanted: Wanted, requirement: str, client: str) -> Blame | None:
    if wanted.kind == "notice":
        for notice in window.notices(wanted.name):
            if wanted.expected is None or includes(notice.content, wanted.expected):
                return _misread(notice, requirement, client)
        return Blame(party=CONTROLLER, requirement=requirement, how=f"the client got no such {wanted.name}")
    if wanted.kind == "stream":
        return _stream(window, wanted, requirement, client)
    if wanted.kind == "value":
        return _values(window, wanted, requirement, client)
    if wanted.kind == "content" and wanted.expected is not None:
        return _content(window, wanted, requirement, client)
    return None


def _misread(shown: Seen, requirement: str, client: str) -> Blame:
    how = f"it was sent the right {shown.msg_type} and did not make of it what it should"
    return Blame(party=client, requirement=requirement, how=how)


def _values(window: Window, wanted: Wanted, requirement: str, client: str) -> Blame | None:
    last = None
    for msg_id, expected in zip(wanted.msg_ids, wanted.expected, strict=False):
        replies = window.replies(msg_id, at_client=True)
        if len(replies) != 1 or not replies[0].message or not replies[0].message.buffers:
            return None
        try:
            found = pickles.trace(bytes(replies[0].message.buffers[0]))
        except pickles.PickleError:
            return None
        if not isinstance(found, int | str | float | None):
            return None
        if found != expected:
            how = f"its {replies[0].msg_type} brought {found!r:.80} instead of {expected!r:.80}"
            return Blame(party=replies[0].author, requirement=requirement, how=how)
        last = replies[0]
    return None if last is None else _misread(last, requirement, client)


def _content(window: Window, wanted: Wanted, requirement: str, client: str) -> Blame | None:
    if wanted.msg_ids:
        replies = [each for msg_id in wanted.msg_ids for each in window.replies(msg_id, at_client=True)]
    else:
        replies = [each for each in window.seen if each.msg_type == wanted.name and each.is_reply]
    if not replies:
        return None
    wrong = [each for each in replies if not includes(each.content, wanted.expected)]
    if not wrong or (not wanted.msg_ids and len(wrong) < len(replies)):
        return _misread(replies[-1], requirement, client)
    found = {key: wrong[-1].content.get(key) for key in wanted.expected}
    how = f"its {wrong[-1].msg_type} said {found!r:.120} instead of {wanted.expected!r:.120}"
    return Blame(party=wrong[-1].author, requirement=requirement, how=how)


def _stream(window: Window, wanted: Wanted, requirement: str, client: str) -> Blame | None:
    (msg_id,) = wanted.msg_ids
    sent, got = (
        [each for each in window.published(msg_id, "stream", at_client=at_client) if _name(each) == wanted.name]
        for at_client in (False, True)
    )
    if _text(got) == wanted.expected:
        return _misread(got[-1], requirement, client) if got else None
    if _text(sent) == wanted.expected:
        how = f"{wanted.name} came to it complete, and to the client as {_text(got)!r:.80}"
        return Blame(party=CONTROLLER, requirement="iopub.reaches-all-clients", how=how)
    engines = {each.hop.party for each in window.replies(msg_id, at_client=False)}
    if len(engines) == 1:
        how = f"it published {_text(sent)!r:.80} on {wanted.name} instead of {wanted.expected!r:.80}"
        return Blame(party=engines.pop(), requirement=requirement, how=how)
    return None


def _name(seen: Seen) -> object:
    return seen.content.get("name")


def _text(published: Sequence[Seen]) -> str:
    return "".join(str(each.content.get("text", "")) for each in published)


def includes(found: Any, expected: Any) -> bool:
    """Whether everything that was expected is in what was found; other keys of objects do not matter."""
    if isinstance(expected, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and includes(found[key], value) for key, value in expected.items()
        )
    return bool(found == expected)


# -- errors ------------------------------------------------------------------------------------------------------------


def _error(window: Window, names: Collection[str], requirement: str) -> Blame | None:
    for seen in window.seen:
        if seen.is_reply and seen.content.get("status") in ("error", "aborted"):
            ename = seen.content.get("ename", seen.content.get("status"))
            if ename in names:
                how = f"it answered {ename}: {seen.content.get('evalue', '')!s:.120}"
                return Blame(party=seen.author, requirement=requirement, how=how)
    return None
