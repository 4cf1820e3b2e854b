"""Test vectors for every language: what a vector is, how it is written to JSON, and how it is checked.

A vector gives the frames of one message and everything a receiver needs to judge them (key, scheme, packer), and says
what must come of it: the decoded parts, or the exact refusal. `conformance.vector_sources` makes them; this module
writes and reads them and checks the codec against them. The format, one JSON object per file:

    {"format": 1, "about": str, "vectors": [VECTOR, ...]}

    VECTOR
      name, summary    unique in all files; one sentence
      requirements     slugs of the requirements that the vector is about
      key, scheme, packer, parts
                       hexadecimal; "hmac-<hash>"; "json" or "msgpack"; names of the dictionaries, in order
      place            [channel, dialect], when the message is also to be checked against its type; else absent
      before           earlier messages to the same receiver, each a list of FRAMEs: it remembers what it accepted
      frames           list of FRAME
      accepted         DECODED, or
      refused          {"at": DEPTH, "problems": [[frame, requirement, path], ...]}, and `decoded` unless at "envelope"

    FRAME     hexadecimal digits, or for long frames [[digits, times], ...], to be repeated and joined
    DEPTH     how far one must read to see it: "envelope" (signature, header, parent header, metadata), "content"
              (a relay passes such a message on), "type" (the types of this channel), "buffers" (of an apply message)
    DECODED   {"identities": how many frames at the front, "buffers": how many at the end, "header": ..., ...}, and for
              apply messages `call`, a description of what the buffers hold

Values that JSON lacks are objects with one key: {"$integer": "..."} beyond 2^53, {"$float": "nan"}, {"$bytes": "ff"},
{"$timestamp": "..."}, {"$extension": [code, digits]}, {"$map": [[key, value], ...]} for keys that are no strings.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from msgspec import msgpack

from protocol.applybuffers import describe_reply, describe_request
from protocol.errors import RemoteProtocolError
from protocol.messages import read
from protocol.wire import PARTS, Codec, Frame, Json, Message, ReplayMemory

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
FOLDER: Final = "fixtures/vectors"

Vector = dict[str, Any]


def make(
    name: str,
    summary: str,
    requirements: Iterable[str],
    codec: Codec,
    frames: Sequence[Frame],
    *,
    place: tuple[str, str] | None = None,
    before: Sequence[Sequence[Frame]] = (),
    call: bool = False,
) -> Vector:
    """A vector with the verdict that the codec gives now; `call` also describes the buffers of an apply message."""
    vector: Vector = {
        "name": name,
        "summary": summary,
        "requirements": list(dict.fromkeys(requirements)),
        "key": codec.key.hex(),
        "scheme": codec.scheme,
        "packer": codec.packer.name,
        "parts": list(codec.parts),
    }
    if place is not None:
        vector["place"] = list(place)
    if before:
        vector["before"] = [[_written(frame) for frame in each] for each in before]
    vector["frames"] = [_written(frame) for frame in frames]
    return vector | verdict(codec, frames, place, before, call)


def check(vector: Vector) -> str | None:
    """What is wrong with the codec by this vector, or with the vector, in one sentence; None if they agree."""
    codec = Codec(
        bytes.fromhex(vector["key"]),
        scheme=vector["scheme"],
        packer=vector["packer"],
        metadata=tuple(vector["parts"]) == PARTS,
    )
    expected = {key: vector[key] for key in ("accepted", "refused", "decoded") if key in vector}
    decoded = expected.get("accepted", {})
    call = "call" in decoded or expected.get("refused", {}).get("at") == "buffers"
    place = (vector["place"][0], vector["place"][1]) if "place" in vector else None
    frames = [frame_of(written) for written in vector["frames"]]
    found = verdict(
        codec, frames, place, [[frame_of(written) for written in each] for each in vector.get("before", ())], call
    )
    # The way through JSON turns tuples into lists; nothing else may differ.
    found = json.loads(json.dumps(found))
    return None if found == expected else f"expected {_short(expected)}, found {_short(found)}"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 400 else f"{text[:400]}..."


def verdict(
    codec: Codec,
    frames: Sequence[Frame],
    place: tuple[str, str] | None = None,
    before: Sequence[Sequence[Frame]] = (),
    call: bool = False,
) -> Json:
    """`{"accepted": DECODED}`, or `{"refused": {"at", "problems"}}` with `decoded` if the envelope was good."""
    codec.replay = ReplayMemory() if before and codec.key else None
    for earlier in before:
        try:
            codec.open(earlier)
        except RemoteProtocolError:
            continue  # it is the last message that is judged
    try:
        message = codec.open(frames)
    except RemoteProtocolError as error:
        return {"refused": {"at": "envelope", "problems": _problems(error)}}
    finally:
        codec.replay = None
    decoded: Json = {
        "identities": len(message.identities),
        "buffers": len(message.buffers),
        **{part: _tagged(getattr(message, part)) for part in codec.parts if part != "content"},
    }
    depth = "content"
    try:
        decoded["content"] = _tagged(message.content)
        depth = "type"
        if place is not None:
            read(codec, frames, *place)
        depth = "buffers"
        if call:
            decoded["call"] = _described(message)
    except RemoteProtocolError as error:
        return {"refused": {"at": depth, "problems": _problems(error)}, "decoded": decoded}
    return {"accepted": decoded}


def _problems(error: RemoteProtocolError) -> list[list[str]]:
    return [[problem.frame, problem.rule, problem.path] for problem in error.problems]


def _described(message: Message) -> Json:
    if message.msg_type == "apply_reply":
        return {"parts": [dict(part._asdict()) for part in describe_reply(message.buffers)]}
    call = describe_request(message.buffers)
    return {
        "function": dict(call.function._asdict()),
        "info": {**call.info._asdict(), "kw_keys": list(call.info.kw_keys)},
        "parts": [dict(part._asdict()) for part in call.parts],
    }


# Frames and values as JSON

#: From this many bytes on, a frame is written as what repeats in it.
_LONG: Final = 2048
_REPEATED: Final = re.compile(rb"(.{1,8}?)\1{63,}", re.DOTALL)


def _written(frame: Frame) -> str | list[list[Any]]:
    octets = bytes(frame)
    if len(octets) < _LONG:
        return octets.hex()
    pieces: list[list[Any]] = []
    at = 0
    for match in _REPEATED.finditer(octets):
        if match.start() > at:
            pieces.append([octets[at : match.start()].hex(), 1])
        pieces.append([match[1].hex(), len(match[0]) // len(match[1])])
        at = match.end()
    if at < len(octets):
        pieces.append([octets[at:].hex(), 1])
    return pieces


def frame_of(written: str | list[list[Any]]) -> bytes:
    """The frame that a FRAME of a vector stands for."""
    if isinstance(written, str):
        return bytes.fromhex(written)
    return b"".join(bytes.fromhex(digits) * times for digits, times in written)


def _tagged(value: object) -> object:
    match value:
        case bool() | None | str():
            return value
        case int():
            return value if abs(value) < 1 << 53 else {"$integer": str(value)}
        case float():
            return value if math.isfinite(value) else {"$float": repr(value)}
        case bytes():
            return {"$bytes": value.hex()}
        case datetime():
            return {"$timestamp": value.isoformat()}
        case msgpack.Ext():
            return {"$extension": [value.code, bytes(value.data).hex()]}
        case list() | tuple():
            return [_tagged(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: _tagged(item) for key, item in value.items()}
        case dict():
            return {"$map": [[_tagged(key), _tagged(item)] for key, item in value.items()]}
        case _:
            raise TypeError(f"no way to write {type(value).__name__} into a vector")


# Files


def rendered(files: Mapping[str, tuple[str, Sequence[Vector]]]) -> dict[str, bytes]:
    """The bytes of every file, `name -> (what it is about, its vectors)`, and of the manifest."""
    made = {name: _file(about, vectors) for name, (about, vectors) in files.items()}
    rows = [
        {
            "file": name,
            "about": about,
            "accepted": sum("accepted" in vector for vector in vectors),
            "refused": sum("refused" in vector for vector in vectors),
            "sha256": hashlib.sha256(made[name]).hexdigest(),
        }
        for name, (about, vectors) in files.items()
    ]
    count = sum(len(vectors) for _, vectors in files.values())
    named = sorted({slug for _, vectors in files.values() for vector in vectors for slug in vector["requirements"]})
    manifest = json.dumps({"format": FORMAT, "count": count, "requirements": named, "files": rows}, indent=2) + "\n"
    return {**made, MANIFEST: manifest.encode()}


def _file(about: str, vectors: Sequence[Vector]) -> bytes:
    # One line per vector: a change shows as the lines of the vectors that changed.
    lines = ",\n".join(json.dumps(vector, separators=(",", ":")) for vector in vectors)
    return f'{{"format":{FORMAT},"about":{json.dumps(about)},"vectors":[\n{lines}\n]}}\n'.encode()


def differences(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """In what a folder differs from the files that belong into it, one sentence each."""
    found = []
    for name, content in files.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.read_bytes() != content:
            found.append(f"{name} differs{_first_difference(path.read_bytes(), content)}")
    stale = sorted(path.name for path in folder.glob("*.json") if path.name not in files)
    return [*found, *(f"{name} belongs to no source" for name in stale)]


def _first_difference(present: bytes, wanted: bytes) -> str:
    for number, (now, then) in enumerate(zip(present.splitlines(), wanted.splitlines(), strict=False), 1):
        if now != then:
            return f" from line {number} on"
    return " in its length"


def failures(folder: Path) -> list[str]:
    """Every vector in a folder's files that the codec does not agree with, and every file that is no vector file."""
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name == MANIFEST:
            continue
        try:
            vectors = json.loads(path.read_bytes())["vectors"]
            judged = [(vector["name"], check(vector)) for vector in vectors]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            found.append(f"{path.name} is no vector file: {type(error).__name__}: {error}")
            continue
        found += [f"{path.name}: {name}: {complaint}" for name, complaint in judged if complaint]
    return found


def write(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write files into a folder, remove vector files that belong to no source, and say what changed."""
    changed = differences(folder, files)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for path in folder.glob("*.json"):
        if path.name not in files:
            path.unlink()
    return changed


__all__ = [
    "FOLDER",
    "FORMAT",
    "MANIFEST",
    "Vector",
    "check",
    "differences",
    "failures",
    "frame_of",
    "make",
    "rendered",
    "verdict",
    "write",
]
