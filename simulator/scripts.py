"""The language of virtual engines: JSON that says what code does, and how long it takes in virtual time.

    {"takes": 5000000}                          a `Work`, which is what scenarios write
    {"text": "hello"}                           writes a line, to `stream` (stdout or stderr)
    {"seconds": 0.5, "holds": true}             takes half a second, in which nothing else runs in the interpreter
    {"numbers": 100}                            writes the numbers from 0, a line each
    {"shows": "word"}                           an expression with this value
    {"publishes": "name"}                       publishes data under this name, before it ends
    {"raises": "word"}                          ends with a ValueError
    {"asks": "prompt"}                          asks for a line of input, which nobody can give
    {"defines": "x"}  {"uses": "x"}             sets a variable; looks one up, which may not be there

Code that is no JSON of this kind takes no time and returns.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol.roles.engine import Outcome
from protocol.roles.speech import content_of, error
from protocol.wire import Message
from protocol.world import SECOND, Work

#: The value of every call, pickled: what comes back is not looked at.
VALUE: Final = (b"N.",)


class Script(Work, frozen=True, kw_only=True):
    """Everything that code can do; see the module, and `Work` for the rest."""

    text: str = ""
    stream: str = "stdout"
    seconds: float = 0.0
    numbers: int = 0
    shows: str | None = None
    publishes: str = ""
    raises: str | None = None
    asks: str | None = None
    defines: str = ""
    uses: str = ""

    @property
    def lasts(self) -> int:
        """Nanoseconds that it takes."""
        return self.takes + round(self.seconds * SECOND)

    def lines(self) -> list[tuple[str, str]]:
        """What it writes, piece by piece: the stream and the text."""
        written = [(self.stream, f"{self.text}\n")] if self.text else []
        written += [("stdout", f"line {number}\n") for number in range(self.prints)]
        return written + [("stdout", f"{number}\n") for number in range(self.numbers)]

    def problem(self, uuid: str, names: Mapping[str, object]) -> tuple[str, str] | None:
        """Name and text of the exception with which it ends on this engine, where these variables are set; or None."""
        if "*" in self.refuses or uuid in self.refuses:
            return UNMET, "the dependencies are not met here"
        if self.fails:
            return "ValueError", "the code failed"
        if self.raises is not None:
            return "ValueError", self.raises
        if self.asks is not None:
            return "EOFError", "an engine has no standard input"
        if self.uses and self.uses not in names:
            return "NameError", f"name {self.uses!r} is not defined"
        return None


UNMET: Final = "UnmetDependency"
_DECODER: Final = msgspec.json.Decoder(Script)
_NOTHING: Final = Script()


def written(work: Work) -> bytes:
    """How work is written into a request."""
    return msgspec.json.encode(work)


def parsed(code: Any) -> Script:
    """The script that some code is."""
    try:
        return _DECODER.decode(code)
    except (msgspec.MsgspecError, TypeError, UnicodeError):
        return _NOTHING


def script_of(message: Message) -> Script:
    """The script that a request asks to be run: in the last buffer of a call, or in the code of an execute_request."""
    return parsed(message.buffers[-1] if message.buffers else (content_of(message) or {}).get("code", b""))


def outcome(script: Script, message: Message, uuid: str, names: dict[str, object]) -> Outcome:
    """How a script ends on an engine; the variables are changed by it."""
    problem = script.problem(uuid, names)
    if problem is not None:
        return Outcome(status="error", content=error(*problem), dependencies_met=problem[0] != UNMET)
    if script.defines:
        names[script.defines] = 1
    if message.msg_type != "execute_request":
        return Outcome(buffers=VALUE)
    asked = (content_of(message) or {}).get("user_expressions")
    values = {name: _value(str(text), uuid, names) for name, text in asked.items()} if isinstance(asked, dict) else {}
    return Outcome(content={"user_expressions": values, "payload": []})


def shown(script: Script, message: Message) -> dict[str, Any] | None:
    """The content of the `execute_result` of code whose value is shown, or None."""
    content = content_of(message) or {}
    if script.shows is None or message.msg_type != "execute_request" or content.get("silent") is True:
        return None
    return _data(script.shows)


def published(script: Script) -> tuple[dict[str, Any], tuple[bytes, ...]] | None:
    """Content and buffers of the `data_message` of code that publishes data, or None."""
    return ({"keys": [script.publishes]}, VALUE) if script.publishes else None


def _value(text: str, uuid: str, names: Mapping[str, object]) -> dict[str, Any]:
    script = parsed(text)
    problem = script.problem(uuid, names)
    return error(*problem) if problem is not None else {"status": "ok"} | _data(script.shows or "")


def _data(value: str) -> dict[str, Any]:
    return {"data": {"text/plain": repr(value)}, "metadata": {}}


__all__ = ["Script", "outcome", "published", "script_of", "shown", "written"]
