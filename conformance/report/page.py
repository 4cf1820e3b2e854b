"""The viewer: a story as one page that needs nothing else, to step through it and to look into its messages.

The rows of the drawing are those of `conformance.report.sequence`; the page moves them when a filter leaves some out.
It loads nothing and sends nothing, and its policy forbids that it ever does.
"""

import html
import json
from importlib.resources import files
from string import Template
from typing import Any, Final

from conformance.exchanges import pretty
from conformance.report.sequence import PITCH, ROW, TIMES, body, heads, style
from conformance.report.story import QUIET, Line, Story
from protocol.errors import ProtocolError
from protocol.world import Observation

#: Bytes of a frame that is no JSON which are shown.
_SHOWN: Final = 400
_PARTS: Final = ("header", "parent_header", "metadata", "content")


def as_html(story: Story) -> str:
    """The whole story as a page."""
    return Template(_file("page.html")).substitute(
        title=html.escape(story.title),
        style=style() + _file("theme.css") + _file("page.css"),
        heads=heads(story),
        body=body(story),
        # Within a script only this character can end it.
        data=json.dumps(_data(story), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=_file("page.js"),
    )


def _file(name: str) -> str:
    return (files("conformance.report") / name).read_text(encoding="utf-8")


def _data(story: Story) -> dict[str, Any]:
    # A message is seen at every station of its way, with nearly the same text: each text is written once.
    texts: dict[str, int] = {}
    lines = [_line(line, texts) for line in story.lines]
    requests = dict.fromkeys(line.about for line in story.lines if line.about and not line.is_quiet)
    return {
        "lines": lines,
        "texts": list(texts),
        "lanes": story.lanes,
        "channels": story.channels,
        # What was chosen already is not hidden again.
        "quiet": [] if QUIET.issuperset(story.channels) else sorted(QUIET.intersection(story.channels)),
        "requests": list(requests),
        "violations": story.violations,
        "notes": story.notes,
        "row": ROW,
        "times": TIMES,
        "pitch": PITCH,
    }


def _line(line: Line, texts: dict[str, int]) -> dict[str, Any]:
    parts = [] if line.seen is None else frames_of(line.seen)
    return {
        "kind": line.kind,
        "at": line.at,
        "from": line.sender,
        "to": line.receivers,
        "what": line.what,
        "channel": line.channel,
        "id": line.msg_id,
        "about": line.about,
        "remark": line.remark,
        "lost": line.is_lost,
        "accused": line.accused,
        "parts": [(name, texts.setdefault(text, len(texts))) for name, text in parts],
    }


def frames_of(seen: Observation) -> list[tuple[str, str]]:
    """The frames of a message, each with its name and decoded as far as it can be; nothing is ever unpickled."""
    message = seen.message
    if message is None:
        problems = [("problems", "\n".join(map(str, seen.error.problems)))] if seen.error is not None else []
        return [*problems, *((f"frame {number}", _bytes(bytes(frame))) for number, frame in enumerate(seen.frames, 1))]
    parts = [("identity", _bytes(identity)) for identity in message.identities]
    for name in _PARTS:
        try:
            parts.append((name, pretty(getattr(message, name), 72)))
        except ProtocolError as error:
            parts.append((name, f"cannot be read: {error}"))
        except TypeError:
            # Not every packer's values are JSON.
            parts.append((name, repr(getattr(message, name))))
    buffers = enumerate(message.buffers, 1)
    return parts + [(f"buffer {number}, {len(bytes(each))} bytes", _bytes(bytes(each))) for number, each in buffers]


def _bytes(frame: bytes) -> str:
    text = repr(frame[:_SHOWN])[2:-1]
    return text if len(frame) <= _SHOWN else f"{text}… {len(frame)} bytes"


__all__ = ["as_html", "frames_of"]
